// What other folders compute from a network's weights: made when first asked for, kept with the network.
#pragma once

#include <memory>
#include <mutex>
#include <typeindex>
#include <unordered_map>

namespace kvedit {

/// At most one value of each type. Thread-safe; a second caller waits for the first's value.
class Derived {
 public:
  /// make() -> std::shared_ptr<T>; it may throw, and must not ask for another value itself.
  template <class T, class Make>
  const T& get(const Make& make) const {
    const std::scoped_lock lock(mutex_);
    std::shared_ptr<const void>& value = values_[typeid(T)];
    if (!value) value = make();
    return *static_cast<const T*>(value.get());
  }

 private:
  mutable std::mutex mutex_;
  mutable std::unordered_map<std::type_index, std::shared_ptr<const void>> values_;
};

}  // namespace kvedit
