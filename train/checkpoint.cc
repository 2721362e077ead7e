#include "train/checkpoint.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>

namespace kvedit::train {
namespace {

class Again final : public torch::autograd::Node {
 public:
  Again(std::function<Tensors(const Tensors&)> function, Tensors inputs)
      : function_(std::move(function)), inputs_(std::move(inputs)) {}

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    Tensors inputs, wanted;
    for (const torch::Tensor& input : inputs_) {
      inputs.push_back(input.detach().set_requires_grad(input.requires_grad()));
      if (input.requires_grad()) wanted.push_back(inputs.back());
    }
    const torch::AutoGradMode with_gradients(true);
    Tensors outputs, given;
    const Tensors all = function_(inputs);
    for (size_t i = 0; i < all.size(); i++) {
      if (!all[i].requires_grad() || !gradients[i].defined()) continue;
      outputs.push_back(all[i]);
      given.push_back(gradients[i]);
    }
    const Tensors found = torch::autograd::grad(outputs, wanted, given, {}, false, true);
    Tensors result;
    for (size_t i = 0, next = 0; i < inputs.size(); i++)
      result.push_back(inputs[i].requires_grad() ? found[next++] : torch::Tensor());
    return result;
  }
  void release_variables() override {
    inputs_.clear();
    function_ = nullptr;
  }

 private:
  std::function<Tensors(const Tensors&)> function_;
  Tensors inputs_;
};

}  // namespace

Tensors checkpointed(const std::function<Tensors(const Tensors&)>& function, const Tensors& inputs) {
  Tensors outputs;
  {
    const torch::NoGradGuard no_grad;
    outputs = function(inputs);
  }
  const std::shared_ptr<Again> node(new Again(function, inputs), torch::autograd::deleteNode);
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  for (torch::Tensor& output : outputs) torch::autograd::create_gradient_edge(output, node);
  return outputs;
}

}  // namespace kvedit::train
