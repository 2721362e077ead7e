#include "model/file_bytes.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "kvedit/error.h"
#include "tiny_model.h"

namespace kvedit {
namespace {

TEST(FileBytesTest, AMappedFileThatWasCutIsAnError) {
  const std::string path = temporary_path("cut_file");
  for (const auto access : {FileBytes::Access::map, FileBytes::Access::read}) {
    write_file(path, std::string(10000, 'x'));
    const FileBytes file(path, access);
    file.check();
    std::filesystem::resize_file(path, 20000);
    file.check();
    std::filesystem::resize_file(path, 9999);
    if (access == FileBytes::Access::read) {
      file.check();  // read whole, it is ours
      continue;
    }
    try {
      file.check();
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_NE(std::string(error.what()).find("9999 of its 10000"), std::string::npos) << error.what();
    }
  }
}

TEST(FileBytesTest, AReplacedFileStaysAsItWasMapped) {
  const std::string path = temporary_path("replaced_file");
  write_file(path, std::string(10000, 'x'));
  const FileBytes file(path);
  write_file(path + ".new", "y");
  std::filesystem::rename(path + ".new", path);
  file.check();
  EXPECT_EQ(file.bytes()[9999], std::byte('x'));
}

}  // namespace
}  // namespace kvedit
