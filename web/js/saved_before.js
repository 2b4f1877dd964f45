// A workflow that was saved before training nodes had a widget keeps what it got then, whatever fresh nodes begin with.

import { app } from "../../../scripts/app.js";

const BEFORE = { recipe: "paper", depth: 1 }; // by widget; 1 is the embedding of stage 1
const NODES = ["LuminaMGPTLearnIdentifier", "LuminaMGPTFineTuneTransformer"];

app.registerExtension({
  name: "LuminaMGPT.SavedBefore",
  nodeCreated(node) {
    if (!NODES.includes(node.comfyClass)) return;
    const later = node.widgets.map(({ name }, index) => ({ name, index })).filter(({ name }) => name in BEFORE);
    const configure = node.configure;
    node.configure = function (saved, ...rest) {
      const missing = later.filter((widget) => !hasValue(saved, widget)); // before the frontend adds them to what was saved
      const result = configure.call(this, saved, ...rest);
      for (const { name, index } of missing) this.widgets[index].value = BEFORE[name];
      return result;
    };
  },
});

/** Whether a saved node has a value for a widget, by its name and number. */
function hasValue(saved, { name, index }) {
  const values = saved?.widgets_values ?? []; // a list, or by name
  if (!Array.isArray(values)) return name in values;
  return values.length > index || Boolean(saved.inputs?.some((input) => input.name === name));
}
