// The sections of a cache: "cache.layout" says how many entries each lane has, "cache.lanes" has them;
// "cache.held" says what sliding-window layers still hold.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/cancel.h"
#include "cache/page_data.h"
#include "cache/snapshot.h"

namespace kvedit {
namespace {

const char* to_string(ElementType type) { return type == ElementType::f16 ? "f16" : "f32"; }

std::string describe(const PageShape& shape, int layers, int kv_heads) {
  return cat(layers, " layers of ", kv_heads, " KV heads, keys of ", shape.key_dim, ", values of ",
             shape.value_dim, " ", to_string(shape.type));
}

size_t entry_bytes(const PageShape& shape) {
  return sizeof(Position) + (shape.key_dim + shape.value_dim) * shape.element_bytes();
}

// What "cache.layout" says of a lane.
struct LaneLayout {
  uint32_t entries = 0;
  uint32_t pages = 0;  // records in "cache.lanes"
};

struct Layout {
  PageShape shape;
  int layers = 0;
  int kv_heads = 0;
  std::vector<LaneLayout> lanes;  // [layer][kv_head]
};

Layout read_layout(ByteReader in, const PageShape& shape, int layers, int kv_heads) {
  const auto read_shape = [&] {
    const auto type = in.get<uint32_t>();
    if (type > 1) fail(ErrorCode::corrupt, "snapshot", "element type ", type, " is not known");
    PageShape found;
    found.type = type == 0 ? ElementType::f16 : ElementType::f32;
    found.key_dim = in.get<int32_t>();
    found.value_dim = in.get<int32_t>();
    return found;
  };
  Layout layout;
  layout.shape = read_shape();
  layout.layers = in.get<int32_t>();
  layout.kv_heads = in.get<int32_t>();
  if (layout.shape != shape || layout.layers != layers || layout.kv_heads != kv_heads) {
    fail(ErrorCode::unsupported, "snapshot", "its cache has ",
         describe(layout.shape, layout.layers, layout.kv_heads), "; the model has ",
         describe(shape, layers, kv_heads));
  }
  const auto numbers = in.get_array<uint32_t>(uint64_t{2} * layers * kv_heads);
  in.expect_end();
  for (size_t i = 0; i < numbers.size(); i += 2) layout.lanes.push_back({numbers[i], numbers[i + 1]});
  return layout;
}

// Before anything is allocated: the lanes' records are as long as the layout says.
void check_size(const Layout& layout, uint64_t bytes) {
  uint64_t left = bytes;
  const auto take = [&](uint64_t n, uint64_t size) {
    if (n > left / size) fail(ErrorCode::corrupt, "snapshot", "the lanes do not fit into ", bytes, " bytes");
    left -= n * size;
  };
  for (const LaneLayout& lane : layout.lanes) {
    if (lane.pages > lane.entries || lane.entries > uint64_t{lane.pages} * kPageEntries ||
        lane.entries > uint32_t{INT32_MAX}) {
      fail(ErrorCode::corrupt, "snapshot", "a lane of ", lane.entries, " entries has ", lane.pages, " pages");
    }
    take(lane.pages, sizeof(uint32_t));
    take(lane.entries, entry_bytes(layout.shape));
  }
  if (left > 0)
    fail(ErrorCode::corrupt, "snapshot", "the lanes leave ", left, " of ", bytes, " bytes unused");
}

// A page's record: u32 count, positions [count], keys [key_dim][count], values [count][value_dim].
void put_page(ByteWriter& out, const PageShape& shape, const Page& page) {
  const size_t element = shape.element_bytes();
  out.put(static_cast<uint32_t>(page.count));
  out.put_bytes(std::as_bytes(std::span(page.positions).first(page.count)));
  for (int d = 0; d < shape.key_dim; d++) {
    out.put_bytes({page.keys + d * kPageEntries * element, page.count * element});
  }
  out.put_bytes({page.values, page.count * shape.value_dim * element});
}

}  // namespace

// Fills one lane from its records, packing: a record's entries may go to two pages.
class LaneLoader {
 public:
  LaneLoader(Cache& cache, int layer, int head)
      : pool_(*cache.pool_), shape_(pool_.shape()), lane_(cache.checked_lane(layer, head)) {}

  static void set_held_from(Cache& cache, Position from) {
    if (from < 1 || from > cache.last_position() + 1) {
      fail(ErrorCode::corrupt, "snapshot", "entries are held from position ", from, " on; the last is ",
           cache.last_position());
    }
    cache.held_from_ = from;
  }

  void load(ByteReader& in, const LaneLayout& layout) {
    lane_.pages_.reserve((layout.entries + kPageEntries - 1) / kPageEntries);
    for (uint32_t i = 0; i < layout.pages; i++) load_page(in);
    if (static_cast<uint32_t>(lane_.size_) != layout.entries) {
      fail(ErrorCode::corrupt, "snapshot", "a lane has ", lane_.size_, " entries, not ", layout.entries);
    }
  }

 private:
  void load_page(ByteReader& in) {
    const auto count = in.get<uint32_t>();
    if (count < 1 || count > kPageEntries) {
      fail(ErrorCode::corrupt, "snapshot", "a page of ", count, " entries; 1..", kPageEntries,
           " are possible");
    }
    const auto positions = in.get_array<Position>(count);
    const size_t element = shape_.element_bytes();
    const auto keys = in.get_bytes(count * shape_.key_dim * element);
    const auto values = in.get_bytes(count * shape_.value_dim * element);
    for (Position position : positions) {
      if (position <= last_) fail(ErrorCode::corrupt, "snapshot", "position ", position, " follows ", last_);
      last_ = position;
    }
    for (uint32_t done = 0; done < count;) {
      Page& page = open_page();
      const auto n = std::min(count - done, static_cast<uint32_t>(kPageEntries - page.count));
      std::copy_n(positions.begin() + done, n, page.positions.begin() + page.count);
      for (size_t d = 0; d < static_cast<size_t>(shape_.key_dim); d++) {
        std::memcpy(page.keys + (d * kPageEntries + page.count) * element,
                    keys.data() + (d * count + done) * element, n * element);
      }
      const size_t value = shape_.value_dim * element;
      std::memcpy(page.values + page.count * value, values.data() + done * value, n * value);
      page.count += static_cast<int>(n);
      done += n;
    }
    lane_.size_ += static_cast<int>(count);
  }

  Page& open_page() {
    if (lane_.pages_.empty() || lane_.pages_.back()->count == kPageEntries) {
      lane_.pages_.push_back(pool_.allocate());
    }
    return *lane_.pages_.back();
  }

  PagePool& pool_;
  const PageShape& shape_;
  Lane& lane_;
  Position last_ = -1;
};

void save_cache(SnapshotWriter& writer, const Cache& cache) {
  const PageShape& shape = cache.pool()->shape();
  ByteWriter out;
  out.put(uint32_t{shape.type == ElementType::f16 ? 0U : 1U});
  for (int number : {shape.key_dim, shape.value_dim, cache.layers(), cache.kv_heads()})
    out.put(int32_t{number});
  const auto each_lane = [&](auto body) {
    for (int layer = 0; layer < cache.layers(); layer++) {
      check_cancel("snapshot");
      for (int head = 0; head < cache.kv_heads(); head++) body(cache.lane(layer, head));
    }
  };
  each_lane([&](const Lane& lane) {
    out.put(static_cast<uint32_t>(lane.size()));
    out.put(static_cast<uint32_t>(lane.pages().size()));
  });
  writer.section("cache.layout", out.bytes());

  writer.begin_section("cache.lanes");
  each_lane([&](const Lane& lane) {
    for (const PageRef& page : lane.pages()) {
      out.clear();
      put_page(out, shape, *page);
      writer.add(out.bytes());
    }
  });
  writer.end_section();
  if (cache.held_from() == 0) return;
  out.clear();
  out.put(int32_t{cache.held_from()});
  writer.section("cache.held", out.bytes());
}

Cache load_cache(const SnapshotReader& reader, std::shared_ptr<PagePool> pool, int layers, int kv_heads,
                 std::shared_ptr<const std::vector<Rope>> ropes) {
  Cache cache(std::move(pool), layers, kv_heads, std::move(ropes));
  const Layout layout = read_layout(reader.read("cache.layout"), cache.pool()->shape(), layers, kv_heads);
  ByteReader in = reader.read("cache.lanes");
  check_size(layout, in.left());
  size_t pages = 0;
  for (const LaneLayout& lane : layout.lanes) pages += (lane.entries + kPageEntries - 1) / kPageEntries;
  cache.pool()->check_available(pages);
  for (size_t i = 0; i < layout.lanes.size(); i++) {
    check_cancel("snapshot");
    const int lane = static_cast<int>(i);
    LaneLoader(cache, lane / kv_heads, lane % kv_heads).load(in, layout.lanes[i]);
  }
  in.expect_end();
  if (reader.has("cache.held")) {
    ByteReader held = reader.read("cache.held");
    LaneLoader::set_held_from(cache, held.get<int32_t>());
    held.expect_end();
  }
  return cache;
}

}  // namespace kvedit
