"""What an artist sees: one node per file. The only package that imports ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from .apply_personalization import ApplyPersonalization
from .dreambench_score import DreamBenchScore
from .fine_tune import FineTuneTransformer
from .host.folders import register_folders
from .learn_identifier import LearnIdentifier
from .load_janus_pro import LoadJanusPro
from .load_model import LoadModel
from .load_personalization import LoadPersonalization
from .prompts import Prompts
from .remembered_trainings import RememberedTrainings
from .sampler import Sampler
from .save_personalization import SavePersonalization
from .subject_photos import SubjectPhotos

NODES = [
    LoadModel,
    LoadJanusPro,
    SubjectPhotos,
    LearnIdentifier,
    FineTuneTransformer,
    ApplyPersonalization,
    SavePersonalization,
    LoadPersonalization,
    Prompts,
    Sampler,
    DreamBenchScore,
    RememberedTrainings,
]


class Extension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> Extension:
    register_folders()
    return Extension()
