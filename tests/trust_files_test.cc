// Files, options and messages that once did harm: each is refused by name, or does what it says.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <locale>

#include "cache/bytes.h"
#include "cache/snapshot.h"
#include "session_testing.h"
#include "tools/text.h"

namespace kvedit {
namespace {

namespace fs = std::filesystem;

std::shared_ptr<Model> chatty_model() {
  ModelOptions options = exact_options();
  options.threads = 1;
  options.chat_template = "chatml";
  return load({}, options);
}

TEST(TrustFilesTest, ModelOptionsOutOfRangeAreRefused) {
  const std::string path = write_tiny_model({}, temporary_path("options.gguf"));
  for (const ModelOptions& options : {ModelOptions{.threads = -1}, ModelOptions{.threads = 100000},
                                      ModelOptions{.block_tokens = 0}, ModelOptions{.block_tokens = -5}})
    EXPECT_EQ(code_of([&] { Model::load(path, options); }), ErrorCode::out_of_range);
}

// A snapshot of these sections, of the model's.
std::string forged(const std::shared_ptr<Model>& model, const std::vector<Position>& steered, int exact,
                   bool evicted) {
  const std::string whole = temporary_path("whole.kv"), path = temporary_path("forged.kv");
  Session(model).save(whole);
  const SnapshotReader file(whole);
  SnapshotWriter out(path);
  for (const char* name : {"model", "messages", "waiting", "erased", "cache.layout", "cache.lanes"})
    out.section(name, file.section(name));
  ByteWriter transcript;
  transcript.put(uint64_t{0});
  transcript.put(static_cast<uint64_t>(steered.size()));
  transcript.put_bytes(std::as_bytes(std::span(steered)));
  out.section("transcript", transcript.bytes());
  ByteWriter session;
  session.put(static_cast<int32_t>(exact));
  session.put(static_cast<uint8_t>(evicted));
  session.put_string("");
  session.put(uint8_t{0});
  session.put(double{0});
  session.put(uint64_t{0});
  out.section("session", session.bytes());
  out.commit();
  return path;
}

TEST(TrustFilesTest, AHostileSnapshotIsRefused) {
  const auto tiny = chatty_model();
  EXPECT_EQ(Session::load(tiny, forged(tiny, {}, 0, false)).stats().tokens, 0);
  EXPECT_EQ(code_of([&] { Session::load(tiny, forged(tiny, {3}, 0, false)); }), ErrorCode::corrupt);
  EXPECT_EQ(code_of([&] { Session::load(tiny, forged(tiny, {}, 5, false)); }), ErrorCode::corrupt);
}

TEST(TrustFilesTest, SavingReplacesAFileAndNothingElse) {
  const Session s = filled(chatty_model(), 20);
  const fs::path folder = temporary_path("saving");
  fs::create_directories(folder);
  const std::string file = folder / "file.kv", link = folder / "link.kv", pipe = folder / "pipe";
  s.save(file);
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  fs::create_symlink("file.kv", link);
  s.save(link);
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(fs::status(file).permissions(),
            fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(code_of([&] { s.save(pipe); }), ErrorCode::io);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(code_of([&] { s.save(folder.string()); }), ErrorCode::io);
  // What a killed process left goes with the next save; other files stay.
  write_file(file + ".partial-AbCd01", "half");
  write_file(folder / "other.kv.partial-AbCd01", "another's");
  s.save(file);
  EXPECT_FALSE(fs::exists(file + ".partial-AbCd01"));
  EXPECT_TRUE(fs::exists(folder / "other.kv.partial-AbCd01"));
}

TEST(TrustFilesTest, ErrorsReadTheSameInEveryLocale) {
  struct Thousands : std::numpunct<char> {
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Thousands));
  const std::string text = cat(4000, " tokens");
  std::locale::global(before);
  EXPECT_EQ(text, "4000 tokens");
}

TEST(TrustFilesTest, ThousandsOfMessagesAreRefusedAtOnce) {
  Session s(chatty_model());
  std::vector<Message> many;
  for (int i = 0; i < 16000; i++) many.push_back({i % 2 ? "assistant" : "user", "x"});
  EXPECT_EQ(code_of([&] { s.sync(many, {}); }), ErrorCode::context_full);
  EXPECT_EQ(code_of([&] { s.append_messages(many, true); }), ErrorCode::context_full);
}

}  // namespace
}  // namespace kvedit
