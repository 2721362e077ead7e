// kvedit-train: learned parts of kvedit from the GGUF file that is served. One file a subcommand.
#include <csignal>
#include <iostream>

#include "tools/exit_code.h"
#include "train/commands.h"

int main(int argc, char** argv) {
  using namespace kvedit::train;
  CLI::App app("kvedit-train: trains what kvedit loads", "kvedit-train");
  app.require_subcommand(1);
  add_eraser(app);
  add_export(app);
  add_lkv(app);
  interrupted();
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const kvedit::Error& error) {
    std::cerr << "kvedit-train: " << error.what() << "\n";
    return kvedit::exit_code(error.code());
  } catch (const std::exception& error) {
    std::cerr << "kvedit-train: " << error.what() << "\n";
    return kvedit::exit_runtime;
  }
}
