#include "cache/snapshot.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "cache/cache_testing.h"
#include "cache/snapshot_format.h"

namespace kvedit {
namespace {

namespace fs = std::filesystem;

struct SnapshotTest : testing::Test {
  void SetUp() override {
    std::string name = testing::TempDir() + "kvedit-snapshot-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
    path = folder / "snap";
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string bytes_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void put(const fs::path& file, std::string_view bytes) {
    std::ofstream(file, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  std::span<const std::byte> bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
  }
  Cache load(std::shared_ptr<PagePool> pool) {
    return load_cache(SnapshotReader(path), std::move(pool), 2, 2, test_ropes(2, 2));
  }
  void save(const Cache& cache) {
    SnapshotWriter writer(path);
    save_cache(writer, cache);
    writer.commit();
  }
  size_t files() { return std::distance(fs::directory_iterator(folder), {}); }

  fs::path folder, path;
};

Cache small_cache(std::shared_ptr<PagePool> pool, int entries) {
  Cache cache(std::move(pool), 2, 2, test_ropes(2, 2));
  cache.append(range(3, 3 + entries));
  write_test_rows(cache, range(3, 3 + entries));
  return cache;
}

TEST_F(SnapshotTest, CachesComeBackBitForBit) {
  for (ElementType type : {ElementType::f16, ElementType::f32}) {
    auto pool = PagePool::create({.key_dim = 5, .value_dim = 7, .type = type});
    Cache cache = small_cache(pool, 300);
    cache.remove({50, 71});  // pages that are not full
    cache.shift(71, 1000);
    cache.keep(1, 0, range(7, 90));
    cache.keep(0, 1, {});
    const Cache fork = cache.fork();
    save(cache);
    auto other = PagePool::create(pool->shape());
    const Cache loaded = load(other);
    EXPECT_EQ(read_all(loaded), read_all(cache));
    EXPECT_EQ(loaded.lane(0, 0).pages().size(), (279U + 63) / 64);
    EXPECT_EQ(other->stats().pages_in_use, loaded.pages());
  }
  EXPECT_EQ(files(), 1U);
}

TEST_F(SnapshotTest, SectionsAreFoundByName) {
  SnapshotWriter writer(path);
  writer.section("empty", {});
  writer.section("one", bytes("hello"));
  writer.begin_section("pieces");
  writer.add(bytes("ab"));
  writer.add({});
  writer.add(bytes("c"));
  writer.end_section();
  EXPECT_EQ(error_of([&] { writer.section("one", {}); }).first, ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { writer.section(std::string(32, 'x'), {}); }).first, ErrorCode::invalid_argument);
  EXPECT_EQ(error_of([&] { writer.add({}); }).first, ErrorCode::invalid_argument);
  writer.commit();
  const SnapshotReader reader(path);
  EXPECT_TRUE(reader.has("empty"));
  EXPECT_EQ(reader.section("empty").size(), 0U);
  ByteReader in = reader.read("pieces");
  EXPECT_EQ(in.get<char>(), 'a');
  EXPECT_EQ(in.left(), 2U);
  EXPECT_EQ(error_of([&] { in.expect_end(); }).first, ErrorCode::corrupt);
  EXPECT_EQ(error_of([&] { reader.section("two"); }).first, ErrorCode::corrupt);
}

TEST_F(SnapshotTest, NumbersAndTextComeBack) {
  ByteWriter out;
  out.put(uint8_t{200});
  out.put(int32_t{-7});
  out.put(uint64_t{1} << 60);
  out.put(2.5);
  out.put_string("Käse");
  out.put(uint32_t{0xFFFFFFFF});
  ByteReader in(out.bytes(), "test");
  EXPECT_EQ(in.get<uint8_t>(), 200);
  EXPECT_EQ(in.get<int32_t>(), -7);
  EXPECT_EQ(in.get<uint64_t>(), uint64_t{1} << 60);
  EXPECT_EQ(in.get<double>(), 2.5);
  EXPECT_EQ(in.get_string(), "Käse");
  EXPECT_EQ(error_of([&] { in.get_array<uint64_t>(UINT64_MAX / 4); }).first, ErrorCode::corrupt);
  EXPECT_EQ(error_of([&] { in.get_string(); }).first, ErrorCode::corrupt);  // 4 GB of text
  EXPECT_EQ(error_of([&] { in.get<uint8_t>(); }).first, ErrorCode::corrupt);
}

TEST_F(SnapshotTest, WithoutCommitTheOldFileStays) {
  put(path, "old");
  {
    SnapshotWriter writer(path);
    writer.section("new", bytes("new"));
    EXPECT_EQ(files(), 2U);
  }
  EXPECT_EQ(bytes_of(path), "old");
  EXPECT_EQ(files(), 1U);
}

TEST_F(SnapshotTest, FoldersThatCannotBeWrittenAreNamed) {
  const auto [code, message] = error_of([&] { SnapshotWriter(folder / "none" / "snap"); });
  EXPECT_EQ(code, ErrorCode::io);
  EXPECT_NE(message.find("none/snap"), std::string::npos) << message;
  EXPECT_NE(message.find("No such file"), std::string::npos) << message;
  fs::create_directory(path);  // rename onto a folder fails
  SnapshotWriter writer(path);
  EXPECT_EQ(error_of([&] { writer.commit(); }).first, ErrorCode::io);
}

TEST_F(SnapshotTest, AFullDiskIsAnError) {
  const std::string big(1 << 20, 'x');
  SnapshotWriter writer(path);
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);  // the limit stands in for a full disk
  const rlimit small{.rlim_cur = 4096, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const auto code = error_of([&] { writer.section("big", bytes(big)); }).first;
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(code, ErrorCode::io);
}

TEST_F(SnapshotTest, ForeignFilesAreRefused) {
  EXPECT_EQ(error_of([&] { SnapshotReader reader(path); }).first, ErrorCode::not_found);
  put(path, "GGUF and what follows, long enough to be a header of a file of ours");
  EXPECT_NE(error_of([&] { SnapshotReader reader(path); }).second.find("not a kvedit snapshot"),
            std::string::npos);
  EXPECT_EQ(error_of([&] { SnapshotReader reader(folder); }).first, ErrorCode::corrupt);
  fs::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(error_of([&] { SnapshotReader reader(path); }).first, ErrorCode::corrupt);
}

TEST_F(SnapshotTest, WhatIsHeldComesBack) {
  auto pool = PagePool::create({.key_dim = 5, .value_dim = 7});
  Cache cache = small_cache(pool, 300);
  save(cache);
  EXPECT_FALSE(SnapshotReader(path).has("cache.held"));
  cache.free_before(1, 100);
  save(cache);
  const Cache loaded = load(pool);
  EXPECT_EQ(loaded.held_from(), 67);
  EXPECT_EQ(read_all(loaded), read_all(cache));
  for (const Position from : {-1, 0, 304}) {
    SnapshotWriter writer(path);
    save_cache(writer, small_cache(pool, 300));
    writer.section("cache.held", std::as_bytes(std::span(&from, 1)));
    writer.commit();
    EXPECT_EQ(error_of([&] { load(pool); }).first, ErrorCode::corrupt) << from;
  }
}

TEST_F(SnapshotTest, NewerVersionsAreRefusedByName) {
  save(small_cache(PagePool::create({.key_dim = 4, .value_dim = 1}), 3));
  std::string file = bytes_of(path);
  file[offsetof(snapshot::Header, version)] = 9;
  put(path, file);
  EXPECT_NE(error_of([&] { SnapshotReader reader(path); }).second.find("has version 9"), std::string::npos);
}

TEST_F(SnapshotTest, EveryTruncationIsRefused) {
  save(small_cache(PagePool::create({.key_dim = 4, .value_dim = 1}), 5));
  const std::string file = bytes_of(path);
  for (size_t length = 0; length < file.size(); length++) {
    put(path, std::string_view(file).substr(0, length));
    ASSERT_EQ(error_of([&] { SnapshotReader reader(path); }).first, ErrorCode::corrupt) << length;
  }
  put(path, file + "x");
  EXPECT_EQ(error_of([&] { SnapshotReader reader(path); }).first, ErrorCode::corrupt);
}

TEST_F(SnapshotTest, EveryFlippedByteIsRefusedOrChangesNothing) {
  auto pool = PagePool::create({.key_dim = 4, .value_dim = 1});
  const Cache cache = small_cache(pool, 5);
  const auto rows = read_all(cache);
  save(cache);
  const std::string file = bytes_of(path);
  int harmless = 0;
  for (size_t at = 0; at < file.size(); at++) {
    for (int flip : {1, 0x80, 0xFF}) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      put(path, damaged);
      try {
        ASSERT_EQ(read_all(load(pool)), rows) << at;
        harmless++;
      } catch (const Error& error) {
        ASSERT_EQ(error.code(), ErrorCode::corrupt) << error.what();
      }
    }
  }
  EXPECT_LT(harmless, 3 * 64 * 3);  // padding between sections only
}

// Sections whose checksums hold but whose contents lie.
struct LyingSnapshotTest : SnapshotTest {
  ErrorCode load_error(std::span<const std::byte> layout, std::span<const std::byte> lanes) {
    SnapshotWriter writer(path);
    writer.section("cache.layout", layout);
    writer.section("cache.lanes", lanes);
    writer.commit();
    auto pool = PagePool::create({.key_dim = 4, .value_dim = 1, .type = ElementType::f32}, size_t{1} << 20);
    const ErrorCode code = error_of([&] { load(pool); }).first;
    EXPECT_EQ(pool->stats().pages_in_use, 0U);
    return code;
  }
  ByteWriter layout(int key_dim, std::vector<uint32_t> lanes) {
    ByteWriter out;
    out.put(uint32_t{1});
    for (int32_t n : {key_dim, 1, 2, 2}) out.put(n);
    for (uint32_t n : lanes) out.put(n);
    return out;
  }
  ByteWriter page(uint32_t count, std::vector<Position> positions) {
    ByteWriter out;
    out.put(count);
    for (Position p : positions) out.put(p);
    for (size_t i = 0; i < positions.size() * 5; i++) out.put(1.0F);
    return out;
  }
};

TEST_F(LyingSnapshotTest, ContentsAreChecked) {
  const auto one = layout(4, {2, 1, 0, 0, 0, 0, 0, 0});
  EXPECT_EQ(load_error(one.bytes(), page(2, {5, 5}).bytes()), ErrorCode::corrupt);
  EXPECT_EQ(load_error(one.bytes(), page(2, {-5, 5}).bytes()), ErrorCode::corrupt);
  EXPECT_EQ(load_error(one.bytes(), page(3, {4, 5}).bytes()), ErrorCode::corrupt);
  EXPECT_EQ(load_error(one.bytes(), page(0, {4, 5}).bytes()), ErrorCode::corrupt);
  EXPECT_EQ(load_error(one.bytes(), page(0xFFFFFFFF, {4, 5}).bytes()), ErrorCode::corrupt);
  EXPECT_EQ(load_error(one.bytes(), page(3, {4, 5, 6}).bytes()), ErrorCode::corrupt);
  EXPECT_EQ(load_error(one.bytes(), {}), ErrorCode::corrupt);
  EXPECT_EQ(load_error({}, {}), ErrorCode::corrupt);
  EXPECT_EQ(load_error(layout(4, {2, 1}).bytes(), {}), ErrorCode::corrupt);
  EXPECT_EQ(load_error(layout(4, {2, 3, 0, 0, 0, 0, 0, 0}).bytes(), {}), ErrorCode::corrupt);
  EXPECT_EQ(load_error(layout(4, {65, 1, 0, 0, 0, 0, 0, 0}).bytes(), {}), ErrorCode::corrupt);
  const uint32_t most = 0xFFFFFFFF;
  EXPECT_EQ(load_error(layout(4, {most, most, most, most, most, most, most, most}).bytes(), {}),
            ErrorCode::corrupt);
  EXPECT_EQ(load_error(layout(8, {0, 0, 0, 0, 0, 0, 0, 0}).bytes(), {}), ErrorCode::unsupported);
}

TEST_F(SnapshotTest, OtherShapesAndLimitsAreNamed) {
  save(small_cache(PagePool::create({.key_dim = 4, .value_dim = 1}), 500));
  const auto [code, message] = error_of([&] { load(PagePool::create({.key_dim = 6, .value_dim = 1})); });
  EXPECT_EQ(code, ErrorCode::unsupported);
  EXPECT_NE(message.find("keys of 4"), std::string::npos) << message;
  EXPECT_NE(message.find("keys of 6"), std::string::npos) << message;
  auto pool = PagePool::create({.key_dim = 4, .value_dim = 1}, 10000);
  EXPECT_EQ(error_of([&] { load(pool); }).first, ErrorCode::no_memory);
  EXPECT_EQ(pool->stats().high_water_bytes, 0U);
}

}  // namespace
}  // namespace kvedit
