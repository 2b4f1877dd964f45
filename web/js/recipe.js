// A workflow that was saved before training nodes had a recipe was made with the paper's values: it keeps them.

import { app } from "../../../scripts/app.js";

const NODES = ["LuminaMGPTLearnIdentifier", "LuminaMGPTFineTuneTransformer"];

app.registerExtension({
  name: "LuminaMGPT.Recipe",
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const index = node.widgets.findIndex((widget) => widget.name === "recipe");
    const configured = node.onConfigure;
    node.onConfigure = function (saved, ...rest) {
      const result = configured?.call(this, saved, ...rest);
      const values = saved?.widgets_values ?? []; // a list, or by name
      const named = !Array.isArray(values) && "recipe" in values;
      const known = named || values.length > index || saved?.inputs?.some((input) => input.name === "recipe");
      if (!known) this.widgets[index].value = "paper";
      return result;
    };
  },
});
