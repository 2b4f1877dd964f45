// Subject Photos: several photos at once into a folder of ComfyUI's input, and a look at the crops before training.

import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const NODE = "LuminaMGPTSubjectPhotos";
const ACCEPTED = "image/*,.heic,.heif,.avif,.txt"; // captions lie beside their photos

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

/** Send the files to `input/<name>`, let the node show that folder, and show the crops. */
async function upload(node, files) {
  const before = value(node, "folder");
  const name = await askFolder(node);
  if (!name) return;
  forgetPictures(node);
  let sent = 0;
  for (const file of files) {
    const form = new FormData();
    form.append("image", file, file.name);
    form.append("subfolder", name);
    form.append("type", "input");
    const answer = await api.fetchApi("/upload/image", { method: "POST", body: form });
    if (answer.ok) sent += 1;
    else complain(`${file.name} could not be uploaded (${answer.status} ${answer.statusText}).`);
  }
  if (sent === 0) return;
  await app.refreshComboInNodes();
  set(node, "folder", name);
  if (name !== before || !value(node, "class_name").trim()) await chooseClass(node);
  if (value(node, "class_name").trim()) await runAlone(node);
}

/** The folder for the photos: the one that is chosen, if it is the user's own, so that more photos join the others. */
async function askFolder(node) {
  const chosen = value(node, "folder");
  const own = !chosen.startsWith("example: ") && !chosen.startsWith("(");
  const word = (value(node, "class_name").trim() || "subject").replace(/[^\p{L}\p{N}_-]+/gu, "_");
  const answer = await ask("Which folder of ComfyUI's input are they for? Photos that are in it already stay.", own ? chosen : `my_${word}`);
  return answer.replace(/[\\:*?"<>|]+/g, "_").replace(/^[./]+/, "");
}

/** Another folder is another subject: ask what it is, and again where the answer is no plain word. */
async function chooseClass(node) {
  const question = 'What do the photos show? One or two words, such as "dog" or "coffee mug".';
  let word = await ask(question, value(node, "class_name").trim());
  while (/[[\]<>]/.test(word)) word = await ask(`${question} Without an identifier such as [V].`, word.replace(/[[<][^\]>]*[\]>]/g, "").trim());
  set(node, "class_name", word); // "" after a cancel: nothing is learned as what the folder before showed
}

async function ask(question, suggested) {
  const dialog = app.extensionManager?.dialog;
  const answer = dialog?.prompt
    ? await dialog.prompt({ title: "Upload photos", message: question, defaultValue: suggested })
    : window.prompt(question, suggested);
  return (answer ?? "").trim();
}

function set(node, name, text) {
  const widget = widgetOf(node, name);
  widget.value = text;
  widget.callback?.(text);
  node.setDirtyCanvas?.(true, true);
}

/** What the node shows of the photos before belongs to another folder. */
function forgetPictures(node) {
  node.imgs = undefined;
  const text = widgetOf(node, "$$node-text-preview");
  if (text) text.value = "";
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

function complain(text) {
  const toast = app.extensionManager?.toast;
  if (toast) toast.add({ severity: "error", summary: "Subject Photos", detail: text, life: 8000 });
  else window.alert(text);
}
