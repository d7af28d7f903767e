"""transformers without a network: a tokenizer trained here, a randomly initialised
GPT-2 of a few thousand weights, some steps, saved, and read back by name from a
cache of the hub that cannot be written, as a person would mount theirs."""

import os

import contract

# Read when huggingface_hub is imported.
os.environ["HF_HOME"] = str(contract.outputs() / "hf")
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

NAME = "fetchml/tiny"
TEXT = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog ran"] * 8


def into_the_cache(*parts):
    """Saves where a download would have put them, and takes the right to write."""
    cache = contract.outputs() / "hf/hub" / ("models--" + NAME.replace("/", "--"))
    revision = "0" * 40
    (cache / "refs").mkdir(parents=True)
    (cache / "refs/main").write_text(revision)
    for part in parts:
        part.save_pretrained(cache / "snapshots" / revision)
    for folder, _, files in os.walk(contract.outputs() / "hf"):
        for file in files:
            os.chmod(os.path.join(folder, file), 0o444)
        os.chmod(folder, 0o555)


def main():
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[UNK]", "[PAD]"]
    tokenizer.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=120, special_tokens=special, show_progress=False)
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    )
    batch = fast(TEXT, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)

    torch.manual_seed(7)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(fast), n_positions=32, n_embd=32, n_layer=2, n_head=2)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model.train()
    losses = []
    for _ in range(60):
        loss = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    contract.expect(losses[-1] < 0.3 * losses[0], f"the loss went {losses}")

    into_the_cache(model, fast)
    again = AutoModelForCausalLM.from_pretrained(NAME).eval()
    fast = AutoTokenizer.from_pretrained(NAME)
    prompt = fast("the cat sat on", return_tensors="pt")
    words = again.generate(
        prompt["input_ids"],
        attention_mask=prompt["attention_mask"],
        max_new_tokens=2,
        do_sample=False,
        pad_token_id=fast.pad_token_id,
    )
    contract.result(words=fast.decode(words[0]), loss_fell=True)


if __name__ == "__main__":
    main()
