#include "train/checkpoint.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace kvedit::train {
namespace {

using Function = std::function<Tensors(const Tensors&)>;

struct Holder : torch::CustomClassHolder {
  explicit Holder(Function f) : function(std::move(f)) {}
  Function function;
};

struct Checkpoint : torch::autograd::Function<Checkpoint> {
  static Tensors forward(torch::autograd::AutogradContext* context, const c10::intrusive_ptr<Holder>& holder,
                         torch::autograd::variable_list inputs) {
    context->saved_data["function"] = c10::IValue::make_capsule(holder);
    context->save_for_backward(inputs);
    const torch::NoGradGuard no_grad;
    return holder->function(inputs);
  }

  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& gradients) {
    const auto capsule = context->saved_data["function"].toCapsule();
    const auto& function = static_cast<const Holder&>(*capsule).function;
    Tensors inputs, wanted;
    for (const torch::Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().set_requires_grad(saved.requires_grad()));
      if (saved.requires_grad()) wanted.push_back(inputs.back());
    }
    const torch::AutoGradMode with_gradients(true);
    Tensors outputs, given;
    const Tensors all = function(inputs);
    for (size_t i = 0; i < all.size(); i++) {
      if (!all[i].requires_grad() || !gradients[i].defined()) continue;
      outputs.push_back(all[i]);
      given.push_back(gradients[i]);
    }
    const Tensors found = torch::autograd::grad(outputs, wanted, given, {}, false, true);
    Tensors result = {{}};  // the function itself has none
    for (size_t i = 0, next = 0; i < inputs.size(); i++)
      result.push_back(inputs[i].requires_grad() ? found[next++] : torch::Tensor());
    return result;
  }
};

}  // namespace

Tensors checkpointed(std::function<Tensors(const Tensors&)> function, const Tensors& inputs) {
  return Checkpoint::apply(c10::make_intrusive<Holder>(std::move(function)), inputs);
}

}  // namespace kvedit::train
