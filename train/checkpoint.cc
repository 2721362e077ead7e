#include "train/checkpoint.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace kvedit::train {
namespace {

using Differentiable = std::function<Tensors(const Tensors&)>;

// The function to call again, in the one place where a torch Function keeps anything but tensors.
struct Call : torch::CustomClassHolder {
  Call(Differentiable f, Tensors i) : function(std::move(f)), inputs(std::move(i)) {}

  Differentiable function;
  Tensors inputs;
};

struct Again : torch::autograd::Function<Again> {
  static Tensors forward(torch::autograd::AutogradContext* context, at::TensorList inputs,
                         const Differentiable& function) {
    const auto call = c10::make_intrusive<Call>(function, inputs.vec());
    context->saved_data["call"] = torch::IValue::make_capsule(call);
    return function(call->inputs);
  }

  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& gradients) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const auto& call = dynamic_cast<const Call&>(*capsule);
    Tensors inputs, wanted;
    for (const torch::Tensor& input : call.inputs) {
      inputs.push_back(input.detach().set_requires_grad(input.requires_grad()));
      if (input.requires_grad()) wanted.push_back(inputs.back());
    }
    const torch::AutoGradMode with_gradients(true);
    Tensors outputs, given;
    const Tensors all = call.function(inputs);
    for (size_t i = 0; i < all.size(); i++) {
      if (!all[i].requires_grad() || !gradients[i].defined()) continue;
      outputs.push_back(all[i]);
      given.push_back(gradients[i]);
    }
    const Tensors found = torch::autograd::grad(outputs, wanted, given, {}, false, true);
    Tensors result;
    for (size_t i = 0, next = 0; i < inputs.size(); i++)
      result.push_back(inputs[i].requires_grad() ? found[next++] : torch::Tensor());
    result.emplace_back();  // the function's
    return result;
  }
};

}  // namespace

Tensors checkpointed(const std::function<Tensors(const Tensors&)>& function, const Tensors& inputs) {
  return Again::apply(at::TensorList(inputs), function);  // of a vector it would not see the tensors
}

}  // namespace kvedit::train
