// Views of a session's cache, and the states of its tokens.
#include "kvedit/view.h"

#include "cache/page_data.h"
#include "session/state.h"

namespace kvedit {

struct CacheView::State {
  Cache cache;

  const Lane& lane(int layer, int head) const {
    if (layer < 0 || layer >= cache.layers() || head < 0 || head >= cache.kv_heads()) {
      fail(ErrorCode::out_of_range, "session", "lane ", layer, "/", head, " of ", cache.layers(),
           " layers and ", cache.kv_heads(), " heads");
    }
    return cache.lane(layer, head);
  }
};

int CacheView::layers() const { return state_->cache.layers(); }
int CacheView::kv_heads() const { return state_->cache.kv_heads(); }
int CacheView::key_dim() const { return state_->cache.pool()->shape().key_dim; }
int CacheView::value_dim() const { return state_->cache.pool()->shape().value_dim; }

size_t CacheView::entries(int layer, int head) const { return state_->lane(layer, head).size(); }

std::vector<Position> CacheView::positions(int layer, int head) const {
  return state_->lane(layer, head).positions();
}

size_t CacheView::pages(int layer, int head) const { return state_->lane(layer, head).pages().size(); }

PageView CacheView::page(int layer, int head, size_t index) const {
  const auto pages = state_->lane(layer, head).pages();
  if (index >= pages.size())
    fail(ErrorCode::out_of_range, "session", "page ", index, " of lane ", layer, "/", head, ", which has ",
         pages.size());
  const Page& page = *pages[index];
  const PageShape& shape = state_->cache.pool()->shape();
  PageView view;
  view.positions.assign(page.positions.begin(), page.positions.begin() + page.count);
  view.keys.resize(static_cast<size_t>(page.count) * shape.key_dim);
  view.values.resize(static_cast<size_t>(page.count) * shape.value_dim);
  for (int slot = 0; slot < page.count; slot++) {
    load_entry(shape, page, slot, view.keys.data() + static_cast<size_t>(slot) * shape.key_dim,
               view.values.data() + static_cast<size_t>(slot) * shape.value_dim);
  }
  return view;
}

CacheView Session::view() const {
  const Settled use(*state_);
  return CacheView(std::make_shared<CacheView::State>(CacheView::State{state_->context.cache.fork()}));
}

std::vector<TokenState> Session::token_states() const {
  const Settled use(*state_);
  const Context& context = state_->context;
  const Transcript& t = context.transcript;
  std::vector<TokenState> states(t.tokens.size());
  for (size_t i = 0; i < states.size(); i++) {
    states[i].position = t.positions[i];
    states[i].exact = static_cast<int>(i) < context.exact;
    states[i].pending = i + 1 == states.size();
  }
  const int lanes = context.cache.layers() * context.cache.kv_heads();
  std::vector<int> held(states.size());
  for (int lane = 0; lane < lanes; lane++) {
    const auto positions =
        context.cache.lane(lane / context.cache.kv_heads(), lane % context.cache.kv_heads()).positions();
    size_t token = 0;  // both ascend
    for (const Position position : positions) {
      while (token < states.size() && t.positions[token] < position) token++;
      if (token < states.size() && t.positions[token] == position) held[token]++;
    }
  }
  for (size_t i = 0; i < states.size(); i++)
    states[i].share = static_cast<float>(held[i]) / static_cast<float>(lanes);
  return states;
}

}  // namespace kvedit
