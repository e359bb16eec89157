"""Networks over tracks, one file each; `base` says what they have in common."""

from deepfake.models.heads.base import HEADS as HEADS
from deepfake.models.heads.base import AttentionHead as AttentionHead
from deepfake.models.heads.base import Start as Start
from deepfake.models.heads.base import TrackHead as TrackHead
from deepfake.models.heads.base import register_head as register_head
