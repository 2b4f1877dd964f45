"""The one adapter to ComfyUI: folders, memory, patches, and progress with previews and cancel."""
