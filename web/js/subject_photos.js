// Subject Photos: several photos at once into a folder of ComfyUI's input, and a look at the crops before training.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const NODE = "LuminaMGPTSubjectPhotos";
const ACCEPTED = "image/*,.heic,.heif,.avif";

app.registerExtension({
  name: "LuminaMGPT.SubjectPhotos",
  nodeCreated(node) {
    if (node.comfyClass !== NODE) return;
    addButton(node, "upload_photos", "upload photos …", () => choosePhotos(node));
    addButton(node, "show_photos", "show the photos as they are cropped", () => runAlone(node));
    node.onDragOver = (event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file");
    node.onDragDrop = (event) => {
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length === 0) return false;
      upload(node, files);
      return true;
    };
  },
});

function addButton(node, name, label, pressed) {
  const button = node.addWidget("button", name, name, pressed, { serialize: false });
  button.label = label;
  button.serialize = false;
}

function choosePhotos(node) {
  const chooser = document.createElement("input");
  chooser.type = "file";
  chooser.multiple = true;
  chooser.accept = ACCEPTED;
  chooser.onchange = () => chooser.files.length && upload(node, [...chooser.files]);
  chooser.click();
}

/** Send the files to `input/<name>`, and let the node show that folder. */
async function upload(node, files) {
  const name = await askName(node);
  if (!name) return;
  let sent = 0;
  for (const file of files) {
    const form = new FormData();
    form.append("image", file, file.name);
    form.append("subfolder", name);
    form.append("type", "input");
    const answer = await api.fetchApi("/upload/image", { method: "POST", body: form });
    if (answer.ok) sent += 1;
    else tell("error", `${file.name} could not be uploaded (${answer.status} ${answer.statusText}).`);
  }
  if (sent === 0) return;
  await app.refreshComboInNodes();
  choose(node, name);
  tell("success", `${sent} photo(s) are in input/${name}. Write what they show into class_name.`);
}

async function askName(node) {
  const question = "Name of the folder for these photos, in ComfyUI's input folder. Photos of the same subject that are there stay.";
  const suggested = (value(node, "class_name").trim() || "subject").replace(/[^\p{L}\p{N}_-]+/gu, "_");
  const dialog = app.extensionManager?.dialog;
  const answer = dialog?.prompt
    ? await dialog.prompt({ title: "Upload photos", message: question, defaultValue: `my_${suggested}` })
    : window.prompt(question, `my_${suggested}`);
  return (answer ?? "").trim().replace(/[\\/:*?"<>|]+/g, "_").replace(/^\.+/, "");
}

function choose(node, name) {
  const widget = widgetOf(node, "folder");
  widget.value = name;
  widget.callback?.(name);
  node.setDirtyCanvas?.(true, true);
}

/** Run this node and nothing behind it. */
function runAlone(node) {
  return app.queuePrompt(0, 1, [String(node.id)]);
}

function widgetOf(node, name) {
  return node.widgets.find((widget) => widget.name === name);
}

function value(node, name) {
  return String(widgetOf(node, name)?.value ?? "");
}

function tell(severity, text) {
  const toast = app.extensionManager?.toast;
  if (toast) toast.add({ severity, summary: "Subject Photos", detail: text, life: 8000 });
  else window.alert(text);
}
