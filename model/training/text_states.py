"""Token states of frozen text encoders, computed once a text.

Nine tenths of the multiply-adds of a training step on words are the encoders'. Frozen, they answer
the same for the same text in every epoch, run and row of an ablation table, so their answers are
kept (memory: 3 KB a token for two encoders of 384) and only what is behind them is computed anew.
"""

from __future__ import annotations

import hashlib
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import BertModel

from model.dpdf_lq import DPDFLQ, ModelOutputs, encode
from model.inputs import ModelInputs


class TextStates:
    """What frozen encoders have answered, for any number of models that hold the same ones."""

    def __init__(self) -> None:
        self._states: dict[tuple[bytes, bytes], Tensor] = {}
        self._digests: WeakKeyDictionary[BertModel, bytes] = WeakKeyDictionary()

    def score(self, model: DPDFLQ, inputs: ModelInputs) -> ModelOutputs:
        """What ``model(inputs)`` answers, if its encoders do not change and are in evaluation mode.

        Raises:
            ValueError: a sequence is longer than the model has positions for.
        """
        model.check_lengths(inputs)
        masks = model.masks(inputs)
        text = [self._read(encoder, inputs, masks["text"]) for encoder in model.encoders]
        return model.join(text, masks["text"], model.rows(inputs, masks))

    def _read(self, encoder: BertModel, inputs: ModelInputs, mask: Tensor) -> Tensor:
        """(B, T, encoder width) of one encoder, 0 where masked."""
        digest = self._digest(encoder)
        lengths = mask.sum(dim=1).tolist()
        ids = inputs.input_ids.cpu().numpy()
        keys = [(digest, row[:n].tobytes()) for row, n in zip(ids, lengths, strict=True)]
        new = [i for i, key in enumerate(keys) if lengths[i] and key not in self._states]
        if new:
            with torch.no_grad(), torch.autocast(mask.device.type, enabled=False):
                answers = encode(encoder, inputs.input_ids[new], mask[new]).cpu()
            for i, answer in zip(new, answers, strict=True):
                self._states[keys[i]] = answer[: lengths[i]].clone()
        states = torch.zeros(*mask.shape, encoder.config.hidden_size)
        for i, key in enumerate(keys):
            if lengths[i]:
                states[i, : lengths[i]] = self._states[key]
        return states.to(mask.device)

    def _digest(self, encoder: BertModel) -> bytes:
        """Tells encoders apart by their weights, so that another one is never answered for."""
        if encoder not in self._digests:
            digest = hashlib.sha256()
            for name, tensor in sorted(encoder.state_dict().items()):
                digest.update(name.encode() + tensor.cpu().numpy().tobytes())
            self._digests[encoder] = digest.digest()
        return self._digests[encoder]
