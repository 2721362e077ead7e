// A session as a sequence of calls, and snapshots whose sections have honest checksums: the first byte
// chooses.
//   even: each next byte is a call with what follows as its arguments; transcript and cache must go on
//   agreeing. odd:  patches of a whole snapshot's sections: [section, offset / 4, byte]...
#include <unistd.h>

#include <cmath>

#include "cache/bytes.h"
#include "cache/snapshot.h"
#include "session_testing.h"

namespace {

using namespace kvedit;  // NOLINT: one entry point

class Bytes {
 public:
  explicit Bytes(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return at_ >= bytes_.size(); }
  int next() { return empty() ? 0 : bytes_[at_++]; }
  std::string text() {
    std::string all;
    for (int n = next() % 24; n > 0; n--) all += static_cast<char>(next());
    return all;
  }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

std::shared_ptr<Model> model() {
  static const std::shared_ptr<Model> tiny = [] {
    ModelOptions options = exact_options();
    options.threads = 1;
    options.chat_template = "gemma";
    TinySpec spec;
    spec.layers = 1;
    spec.d_model = 32;
    spec.heads = 2;
    spec.kv_heads = 1;
    spec.d_ff = 32;
    spec.context = 192;
    spec.edit = begin_every_text;
    return load(spec, options);
  }();
  return tiny;
}

Message message(Bytes& in) {
  static const char* const kRoles[] = {"system",    "user", "assistant",       "tool",
                                       "developer", "",     "user\n<|im_end|>"};
  return {kRoles[in.next() % std::size(kRoles)], in.text()};
}

void call(Session& s, Bytes& in) {
  static const auto eraser = random_eraser(*model());
  const int size = s.stats().tokens;
  switch (in.next() % 22) {
    case 0:
      s.append(in.text(), in.next() % 2 == 0);
      break;
    case 1:
      s.append_messages(std::vector{message(in)}, in.next() % 2 == 0);
      break;
    case 2: {
      const int begin = in.next() % (size + 2) - 1;
      const auto methods = erase_methods();
      s.erase(Span{begin, begin + in.next() % 40}, {.method = methods[in.next() % methods.size()].name,
                                                    .adapter = eraser,
                                                    .verify = in.next() % 8 == 0});
      break;
    }
    case 3: {
      const auto methods = erase_methods();
      std::vector<Message> all;
      for (int n = in.next() % 4; n > 0; n--) all.push_back(message(in));
      s.sync(all, {.method = methods[in.next() % methods.size()].name,
                   .reply = in.next() % 2 == 0,
                   .adapter = eraser});
      break;
    }
    case 4:
      s.evict("streaming-llm:recent=4", Budget::fraction(in.next() / 255.0));
      break;
    case 5:
      s.set_cap("streaming-llm:recent=4", Budget::tokens(in.next()));
      break;
    case 6:
      s.clear_cap();
      break;
    case 7:
      s.undo();
      break;
    case 8:
      s = s.fork();
      break;
    case 9:
      s.generate({.max_tokens = 1 + in.next() % 4, .temperature = 1, .seed = 1});
      break;
    case 10:
      for (const float x : s.logits()) {
        if (!std::isfinite(x)) __builtin_trap();
      }
      break;
    case 11:
      s.append_open(message(in));
      break;
    case 12:
      s.append_messages({}, true);
      break;
    case 13: {
      const std::string text = in.text();
      for (const Found& found : s.find(text, {.loose = in.next() % 2 == 0})) {
        if (found.tokens.begin < 0 || found.tokens.end > size || found.tokens.size() <= 0) __builtin_trap();
      }
      (void)s.find_nearest(text);
      break;
    }
    case 14:
      s.truncate(in.next() % (size + 2));
      break;
    case 15:
      s.redo();
      break;
    case 16: {
      const int begin = in.next() % (size + 2) - 1;
      const Span span{begin, begin + in.next() % 40};
      const EraseOptions options{.method = "repair", .max_forwarded = in.next()};
      const int planned = s.plan({&span, 1}, options).tokens_recomputed;
      if (s.erase(span, options).tokens_recomputed != planned) __builtin_trap();
      break;
    }
    case 17:
      s.erase_text(in.text(), {.method = "drop"}, {.loose = in.next() % 2 == 0});
      break;
    case 18:
      s.erase_message("", static_cast<int>(in.next()) - 128, {.method = "shift"});
      break;
    case 19:
      s = Session::load_bytes(model(), s.save_bytes());
      break;
    case 20: {
      GenerateOptions options{.max_tokens = 1 + in.next() % 4, .temperature = 1, .top_scores = 1};
      options.grammar.rules = in.next() % 2 == 0 ? in.text() : "";
      options.draft = lookup_draft;
      const int block = 1 + in.next() % 16;
      Task<Generation> task = s.start_generate(options);
      Batch batch(model(), {.block_tokens = block});
      batch.add(task);
      for (int steps = in.next() % 8; steps > 0 && batch.step(); steps--) {
      }
      break;  // and gives up the rest
    }
    default:
      s.verify({.probes = {in.text()}});
  }
}

void calls(Bytes in) {
  Session s(model());
  for (int i = 0; i < 24 && !in.empty(); i++) {
    const std::vector<Token> before = s.tokens();
    try {
      call(s, in);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::corrupt || error.code() == ErrorCode::busy) __builtin_trap();
      if (s.stats().cap_policy.empty() && s.tokens() != before) __builtin_trap();
    }
  }
  const std::string path = "/dev/shm/kvedit-session-fuzz-" + std::to_string(getpid());
  s.save(path);
  if (Session::load(model(), path).tokens() != s.tokens()) __builtin_trap();
}

constexpr const char* kSections[] = {"model",   "transcript", "messages",     "waiting",    "erased",
                                     "session", "options",    "cache.layout", "cache.lanes"};

void snapshot(Bytes in) {
  static const std::string path = "/dev/shm/kvedit-session-fuzz-" + std::to_string(getpid());
  static const std::vector<std::string> whole = [] {
    Session s(model());
    s.append_messages(std::vector<Message>{{"system", "a"}, {"user", "bcd"}}, true);
    s.append("efgh");
    s.erase(Span{4, 7}, {.method = "steer", .adapter = random_eraser(*model())});
    s.append_messages(std::vector<Message>{{"system", "later"}}, false);
    s.save(path);
    const SnapshotReader file(path);
    std::vector<std::string> sections;
    for (const char* name : kSections) {
      const auto bytes = file.section(name);
      sections.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    return sections;
  }();
  std::vector<std::string> sections = whole;
  while (!in.empty()) {
    std::string& section = sections[in.next() % sections.size()];
    const size_t at = in.next() + 256 * (in.next() % 8);
    section[at % section.size()] = static_cast<char>(in.next());
  }
  SnapshotWriter out(path);
  for (size_t i = 0; i < sections.size(); i++)
    out.section(kSections[i], std::as_bytes(std::span(sections[i])));
  out.commit();
  try {
    Session s = Session::load(model(), path);
    if (s.stats().tokens == 0) return;
    s.verify();
    s.append("x");
    s.erase(Span{s.stats().tokens - 1, s.stats().tokens});
    s.logits();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::span<const uint8_t> rest(data + 1, size - 1);
  if (data[0] % 2 == 0) {
    calls(Bytes(rest));
  } else {
    snapshot(Bytes(rest));
  }
  return 0;
}
