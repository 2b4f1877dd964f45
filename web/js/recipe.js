// A workflow that was saved before training nodes had a recipe was made with the paper's values: it keeps them.

import { app } from "../../../scripts/app.js";

const NODES = ["LuminaMGPTLearnIdentifier", "LuminaMGPTFineTuneTransformer"];

app.registerExtension({
  name: "LuminaMGPT.Recipe",
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const index = node.widgets.findIndex((widget) => widget.name === "recipe");
    const configure = node.configure;
    node.configure = function (saved, ...rest) {
      const known = hasRecipe(saved, index); // asked first: the frontend adds missing inputs to what was saved
      const result = configure.call(this, saved, ...rest);
      if (!known) this.widgets[index].value = "paper";
      return result;
    };
  },
});

/** Whether a saved node has a value for the recipe, which is its widget number `index`. */
function hasRecipe(saved, index) {
  const values = saved?.widgets_values ?? []; // a list, or by name
  if (!Array.isArray(values)) return "recipe" in values;
  return values.length > index || Boolean(saved.inputs?.some((input) => input.name === "recipe"));
}
