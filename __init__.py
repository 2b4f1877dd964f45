"""The door: hands ComfyUI the node pack. Importing it where there is no ComfyUI does nothing."""

WEB_DIRECTORY = "./web"  # web/docs holds one help page per node

try:
    import comfy_api.latest  # noqa: F401
except ImportError:
    pass  # the engine is used without ComfyUI, for example by the tests: `ar_core` is then imported by itself
else:
    from .nodes import comfy_entrypoint

    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
