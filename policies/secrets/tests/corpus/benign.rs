//! Lines without a secret that look as if they had one.

use crate::draw::{ALNUM, BASE64, Draw, HEX, LOWER, URL_SAFE, base64};

fn ulid(draw: &mut Draw) -> String {
    format!("01{}", draw.from("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24))
}

fn path(draw: &mut Draw) -> String {
    let word = draw.from(LOWER, 6);
    match draw.below(6) {
        0 => format!(
            "s3://datasets-prod/{word}/imagenet-1k/train-{:05}-of-01024.parquet",
            draw.below(1024)
        ),
        1 => format!(
            "/mnt/nfs/checkpoints/{word}/2026-03-01T12-33-07/epoch={}-step={}.ckpt",
            draw.below(99),
            draw.below(99_999)
        ),
        2 => format!(
            "/root/.cache/huggingface/hub/models--Qwen--Qwen2.5-7B-Instruct/snapshots/{}/model-00001-of-00004.safetensors",
            draw.from(HEX, 40)
        ),
        3 => {
            format!("gs://bucket-{word}/runs/{}/events.out.tfevents.1700000000", draw.from(HEX, 8))
        }
        4 => format!("../data/{word}/val2017/000000{}.jpg", draw.between(100_000, 999_999)),
        _ => format!(
            "hdfs://nn1:8020/user/{word}/part-{:05}-{}.snappy.parquet",
            draw.below(999),
            draw.uuid()
        ),
    }
}

fn model(draw: &mut Draw) -> &'static str {
    draw.of(&[
        "meta-llama/Meta-Llama-3.1-8B-Instruct",
        "Qwen/Qwen2.5-Coder-32B-Instruct-GPTQ-Int4",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "TheBloke/Llama-2-13B-chat-GGUF",
        "llama-3.1-8B-Instruct-Q4_K_M.gguf",
        "sentence-transformers/all-MiniLM-L6-v2",
        "google/vit-base-patch16-224-in21k",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "openai/clip-vit-large-patch14-336",
        "DeepSeek-R1-Distill-Qwen-1.5B",
        "nvidia/Llama-3_1-Nemotron-51B-Instruct",
    ])
}

fn tensor(draw: &mut Draw) -> String {
    let layer = draw.below(80);
    draw.of(&[
        "model.layers.#.self_attn.q_proj.weight",
        "transformer.h.#.mlp.c_fc.bias",
        "encoder.layer.#.attention.self.key.weight",
        "base_model.model.model.layers.#.mlp.gate_proj.lora_A.default.weight",
        "cls_token_embeddings.#",
        "blk.#.ffn_down_exps.weight",
    ])
    .replace('#', &layer.to_string())
}

fn prose(draw: &mut Draw) -> &'static str {
    draw.of(&[
        "The password is rotated every quarter by the platform team.",
        "Tokens are counted after truncation, and padding tokens are ignored.",
        "Das Passwort wird vom Betriebsteam verwaltet und steht nicht in dieser Datei.",
        "Der geheime Schluessel liegt im Tresor, nicht hier.",
        "Authentication failed: the secret could not be read from the vault.",
        "Learning rate warms up linearly over the first two thousand steps.",
        "This key is missing from the state dict and was newly initialized.",
        "See the section on credentials before you ask for an API key.",
        "Bitte den Token aus der Umgebung lesen und nie ins Repository schreiben.",
        "Some weights of the checkpoint were not used when initializing the model.",
    ])
}

pub(crate) fn config(draw: &mut Draw) -> String {
    match draw.below(34) {
        0 => format!("data_dir = \"{}\"", path(draw)),
        1 => format!("model: {}", model(draw)),
        2 => format!("sha256 = \"{}\"", draw.from(HEX, 64)),
        3 => format!("image: registry.example.org/train@sha256:{}", draw.from(HEX, 64)),
        4 => format!("    --hash=sha256:{}", draw.from(HEX, 64)),
        5 => format!("integrity: sha512-{}==", draw.from(BASE64, 86)),
        6 => format!("golang.org/x/net v0.17.0 h1:{}=", draw.from(BASE64, 43)),
        7 => format!("checksum = \"{}\"", draw.from(HEX, 64)),
        8 => format!("run_id: {}", draw.from("abcdefghijklmnopqrstuvwxyz0123456789", 8)),
        9 => format!("revision = \"{}\"", draw.from(HEX, 40)),
        10 => format!("experiment_id: {}", draw.uuid()),
        11 => format!("ulid = \"{}\"", ulid(draw)),
        12 => format!(
            "ssh_public_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} bob@host",
            draw.from(BASE64, 43)
        ),
        13 => format!("icon = \"data:image/png;base64,iVBORw0KGgo{}\"", draw.from(BASE64, 120)),
        14 => format!("max_tokens = {}", draw.between(1, 8192)),
        15 => draw
            .of(&[
                "pad_token: \"<pad>\"",
                "eos_token = \"</s>\"",
                "mask_token: '[MASK]'",
                "bos_token: <|begin_of_text|>",
                "unk_token_id: 0",
                "num_tokens: 15e9",
                "tokenizer: gpt2",
                "special_tokens: [\"<s>\", \"</s>\"]",
            ])
            .to_owned(),
        16 => format!("description = \"{}\"", prose(draw)),
        17 => format!("# {}", prose(draw)),
        18 => draw
            .of(&[
                "password_file: /run/secrets/db",
                "api_key_env = \"OPENAI_API_KEY\"",
                "secret_name: train-secrets",
                "token_path: /var/run/token",
                "private_key_path = \"/etc/ssl/key.pem\"",
                "imagePullSecrets: []",
                "credentials_file = \"~/.aws/credentials\"",
                "tokens_per_second: 1200",
                "key_padding_mask: null",
                "password_min_length = 12",
                "secret_arn: arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
                "token_type: bearer",
                "token_budget = 100000",
            ])
            .to_owned(),
        19 => {
            let k = crate::secret::name(draw);
            format!("{k} = \"${{{}}}\"", k.to_uppercase().replace('-', "_"))
        }
        20 => format!("{}: ${{WANDB_API_KEY}}", crate::secret::name(draw)),
        21 => "url = \"postgresql://trainer:${DB_PASSWORD}@db.internal:5432/runs\"".to_owned(),
        22 => "authorization: Bearer ${API_TOKEN}".to_owned(),
        23 => format!(
            "url: https://{}.example.org:8443/v1/models?limit=20&sort=name",
            draw.from(LOWER, 7)
        ),
        24 => format!("target: {}", tensor(draw)),
        25 => format!(
            "overrides = \"optimizer.lr={}e-4 model.hidden={} data.shuffle=true trainer.max_epochs=3\"",
            draw.between(1, 9),
            draw.between(64, 4096)
        ),
        26 => format!(
            "args: --lr 3e-4 --batch-size {} --warmup-ratio 0.03 --lr-scheduler-type cosine --max-tokens 4096",
            draw.between(8, 512)
        ),
        27 => draw
            .of(&[
                "sort_key: created_at",
                "primary_key = \"user_id\"",
                "cache_key: \"${{ runner.os }}-pip\"",
                "public_key_algorithm: ed25519",
                "image_key: jpg",
                "partition_key = \"tenant\"",
                "label_key: class_name",
                "monitor: val/loss",
                "keyboard: de",
                "hot_key: ctrl+s",
            ])
            .to_owned(),
        28 => format!(
            "ca = \"-----BEGIN CERTIFICATE-----\\nMIIB{}\\n-----END CERTIFICATE-----\"",
            draw.from(BASE64, 60)
        ),
        29 => format!("arn: arn:aws:iam::123456789012:role/{}-TrainRole", draw.from(LOWER, 5)),
        30 => format!("lr = {}e-5  # {}", draw.between(1, 9), prose(draw)),
        31 => format!("etag: \"{}\"", draw.from(HEX, 32)),
        32 => format!(
            "audit: seq={} prev={} hash={}",
            draw.below(9999),
            draw.from(HEX, 64),
            draw.from(HEX, 64)
        ),
        _ => draw
            .of(&[
                "password: null",
                "token = \"\"",
                "api_key: ~",
                "pin_memory: true",
                "auth: none",
                "use_auth_token: false",
                "secret: {{ vault.db_password }}",
                "password: !vault secret/db",
                "passthrough: true",
                "bypass_cache = false",
                "author: Jane Doe",
                "authors = [\"A. Meyer <a@example.org>\"]",
                "password: ${{ secrets.DB_PASSWORD }}",
                "token: ${oc.env:HF_TOKEN}",
            ])
            .to_owned(),
    }
}

pub(crate) fn log(draw: &mut Draw) -> String {
    let at = format!("2026-03-{:02} 10:{:02}:07,113", draw.between(1, 28), draw.between(10, 59));
    match draw.below(30) {
        0 => format!("{at} INFO step={} loss={:.4} lr=3.0e-04 tokens/s={} grad_norm=1.03", draw.below(9999), 2.5, draw.below(99_999)),
        1 => format!("{at} INFO saved {}", path(draw)),
        2 => format!("Loading {} from the hub at revision {}", model(draw), draw.from(HEX, 40)),
        3 => format!("{}  model-00001-of-00004.safetensors", draw.from(HEX, 64)),
        4 => format!("Digest: sha256:{}", draw.from(HEX, 64)),
        5 => format!("size mismatch for {}: copying a param with shape [4096, 4096]", tensor(draw)),
        6 => format!("{at} WARNING {}", prose(draw)),
        7 => prose(draw).to_owned(),
        8 => format!("wandb: Run data is saved locally in /work/wandb/run-20260301_1012-{}", draw.from("abcdefghijklmnopqrstuvwxyz0123456789", 8)),
        9 => format!("mlflow run {} finished", draw.from(HEX, 32)),
        10 => format!("{{\"step\": {}, \"tokens\": {}, \"max_tokens\": 4096, \"eos_token_id\": 2}}", draw.below(99), draw.below(9_999_999)),
        11 => "Tokenizer(vocab_size=50257, pad_token='<|pad|>', eos_token='<|endoftext|>', unk_token='<unk>')".to_owned(),
        12 => draw.of(&["password: ********", "api_key=[REDACTED]", "token=None", "secret: <hidden>", "HF_TOKEN=***", "{'password': None, 'user': 'bob'}", "--token <your-token>", "Authorization: Bearer ***", "SecretStr('**********')", "wandb_api_key: ${WANDB_API_KEY}", "hf_token=$HF_TOKEN"]).to_owned(),
        13 => draw.of(&["Your token has been saved to /root/.cache/huggingface/token", "Token is valid (permission: write).", "wandb: Currently logged in as: bob (team). Use `wandb login --relogin` to force relogin", "Enter your password:", "Invalid API key provided", "password must be at least 12 characters long", "KeyError: 'token'", "401 Unauthorized: token expired", "No credentials found, using anonymous access", "DataLoader(pin_memory=True, num_workers=8)", "using token from environment variable HF_TOKEN", "Missing key(s) in state_dict: \"cls_token\", \"mask_token\"", "use_auth_token is deprecated, use token instead", "secret mounted at /run/secrets/db", "token count: 512", "generated tokens: 128, prompt tokens: 64", "next token: the", "passed: 12, failed: 0", "Key: value pairs are printed below"]).to_owned(),
        14 => format!("git rev-parse HEAD -> {}", draw.from(HEX, 40)),
        15 => format!("request_id={} trace={}", draw.uuid(), draw.from(HEX, 32)),
        16 => format!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ{} bob@host", draw.from(BASE64, 200)),
        17 => format!("img: data:image/jpeg;base64,/9j/4AAQ{}", draw.from(BASE64, 200)),
        18 => format!("Downloading https://files.pythonhosted.org/packages/{}/{}/{}/torch-2.4.0-cp311-none-linux_x86_64.whl (755.5 MB)", draw.from(HEX, 2), draw.from(HEX, 2), draw.from(HEX, 60)),
        19 => format!("Epoch {}:  47%|####      | 1403/2990 [07:12<08:09,  3.24it/s, loss=0.412, v_num={}]", draw.below(30), draw.below(9)),
        20 => format!("  File \"/usr/lib/python3.11/site-packages/transformers/models/auto/tokenization_auto.py\", line {}, in from_pretrained", draw.below(999)),
        21 => format!("hydra: optimizer=adamw optimizer.lr={}e-4 model=llama trainer.devices=8 seed={}", draw.between(1, 9), draw.below(9999)),
        22 => format!("connecting to postgresql://db.internal:5432/runs as trainer, https://example.org/{}", draw.from(LOWER, 8)),
        23 => format!("nanoid {} ulid {}", draw.from(URL_SAFE, 21), ulid(draw)),
        24 => format!("artifact bytes: {}", base64(draw.from(ALNUM, 90).as_bytes())),
        25 => format!("key_states shape=(32, 8, {}, 128) query_key_value.weight dtype=bf16", draw.below(4096)),
        26 => format!("\u{1b}[32mINFO\u{1b}[0m sort_key=created_at cache_key=user:{} public_key=ed25519", draw.below(999)),
        27 => "-----BEGIN CERTIFICATE-----".to_owned(),
        28 => format!("audit: seq={} prev={} hash={}", draw.below(9999), draw.from(HEX, 64), draw.from(HEX, 64)),
        _ => format!("{at} INFO perplexity={:.3} accuracy=0.{} tokens={} seq_len=2048", 12.3, draw.below(9999), draw.below(9_999_999)),
    }
}
