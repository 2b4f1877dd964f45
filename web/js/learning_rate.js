// Learning rates span many powers of ten: each arrow changes the first digit of the number that stands there.

import { app } from "../../../scripts/app.js";

const NODES = ["LuminaMGPTLearnIdentifier", "LuminaMGPTFineTuneTransformer"];
const SMALLEST = 1e-6;
const FIRST = 1e-4; // the first click up from 0, which stands for the model's own recipe

app.registerExtension({
  name: "LuminaMGPT.LearningRate",
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const widget = node.widgets.find((candidate) => candidate.name === "learning_rate");
    const changed = widget.callback;
    setStep(widget);
    widget.callback = function (value, ...rest) {
      setStep(widget);
      return changed?.call(this, value, ...rest);
    };
    const configured = node.onConfigure;
    node.onConfigure = function (...given) {
      const result = configured?.apply(this, given);
      setStep(widget);
      return result;
    };
  },
});

function setStep(widget) {
  widget.options.precision = 6;
  widget.options.step2 = stepAt(Number(widget.value));
  widget.options.step = 10 * widget.options.step2; // how earlier frontends count
}

function stepAt(rate) {
  if (!(rate > 0)) return FIRST;
  return Math.max(SMALLEST, 10 ** Math.floor(Math.log10(rate) + 1e-9));
}
