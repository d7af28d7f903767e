//! Lines with a secret in them.

use crate::draw::{ALNUM, BASE64, Draw, HEX, UPPER_DIGITS, URL_SAFE, base64};

/// What a provider's secret looks like, in any place.
pub(crate) fn shaped(draw: &mut Draw) -> String {
    match draw.below(36) {
        0 => format!("AKIA{}", draw.from(UPPER_DIGITS, 16)),
        1 => format!("ASIA{}", draw.from(UPPER_DIGITS, 16)),
        2 => format!("{}_{}", draw.of(&["ghp", "gho", "ghs", "ghu", "ghr"]), draw.from(ALNUM, 36)),
        3 => format!("github_pat_{}_{}", draw.from(ALNUM, 22), draw.from(ALNUM, 59)),
        4 => format!("glpat-{}", draw.from(URL_SAFE, 20).replace(['-', '_'], "x")),
        5 => format!("npm_{}", draw.from(ALNUM, 36)),
        6 => format!("pypi-AgEIcHlwaS5vcmc{}", draw.from(URL_SAFE, 120))
            .trim_end_matches(['-', '_'])
            .to_owned(),
        7 => format!(
            "xoxb-{}-{}-{}",
            draw.from("0123456789", 12),
            draw.from("0123456789", 12),
            draw.from(ALNUM, 24)
        ),
        8 => format!("sk_live_{}", draw.from(ALNUM, 24)),
        9 => format!("sk-proj-{}", draw.from(ALNUM, 48)),
        10 => format!("sk-ant-api03-{}AA", draw.from(ALNUM, 93)),
        11 => format!("hf_{}", draw.from(ALNUM, 34)),
        12 => format!("dapi{}", draw.from(HEX, 32)),
        13 => format!("AIza{}", draw.from(ALNUM, 35)),
        14 => format!("ya29.a0{}", draw.from(ALNUM, 60)),
        15 => format!("SG.{}.{}", draw.from(ALNUM, 22), draw.from(ALNUM, 43)),
        16 => format!("SK{}", draw.from(HEX, 32)),
        17 => format!("sk-lf-{}", draw.uuid()),
        18 => format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", draw.from(ALNUM, 60), draw.from(ALNUM, 43)),
        19 => format!("hvs.CAESI{}", draw.from(ALNUM, 80)),
        20 => format!("dop_v1_{}", draw.from(HEX, 64)),
        21 => format!("{}:AA{}", draw.from("123456789", 10), draw.from(ALNUM, 33)),
        22 => format!("r8_{}", draw.from(ALNUM, 37)),
        23 => format!("gsk_{}", draw.from(ALNUM, 52)),
        24 => format!("nvapi-{}", draw.from(ALNUM, 64)),
        25 => format!("lsv2_pt_{}_{}", draw.from(HEX, 32), draw.from(HEX, 10)),
        26 => format!("pcsk_{}_{}", draw.from(ALNUM, 6), draw.from(ALNUM, 63)),
        27 => format!("glsa_{}_{}", draw.from(ALNUM, 32), draw.from(HEX, 8)),
        28 => format!("NRAK-{}", draw.from(UPPER_DIGITS, 27)),
        29 => format!("GOCSPX-{}", draw.from(ALNUM, 28)),
        30 => format!("shpat_{}", draw.from(HEX, 32)),
        31 => format!("dckr_pat_{}", draw.from(ALNUM, 27)),
        32 => format!(
            "https://hooks.slack.com/services/T{}/B{}/{}",
            draw.from(UPPER_DIGITS, 10),
            draw.from(UPPER_DIGITS, 10),
            draw.from(ALNUM, 24)
        ),
        33 => format!("postgresql://trainer:{}@db.internal:5432/runs", draw.from(ALNUM, 14)),
        34 => format!("sbp_{}", draw.from(HEX, 40)),
        _ => format!("{}8Q~{}", draw.from(ALNUM, 3), draw.from(ALNUM, 34)),
    }
}

const HUMAN: [&str; 12] = [
    "hunter2",
    "Sommer2024!",
    "letmein",
    "correct-horse",
    "Tr0ub4dor&3",
    "qwertz123",
    "p@ssw0rd",
    "iloveyou7",
    "MuenchenIstBunt",
    "dragon",
    "S3cur3#Pwd",
    "geheim",
];

/// What is a secret only by its name; whether weak ones count.
pub(crate) fn unshaped(draw: &mut Draw) -> String {
    match draw.below(8) {
        0 => draw.from(HEX, 40),
        1 => draw.from(HEX, 32),
        2 => draw.from(HEX, 64),
        3 => draw.uuid(),
        4 => draw.of(&HUMAN).to_owned(),
        5 => {
            let len = draw.between(14, 24);
            draw.from(ALNUM, len)
        }
        6 => draw.from(BASE64, 40),
        _ => draw.from(URL_SAFE, 43).replace('-', "x"),
    }
}

pub(crate) fn name(draw: &mut Draw) -> &'static str {
    draw.of(&[
        "password",
        "DB_PASSWORD",
        "dbPassword",
        "api_key",
        "apiKey",
        "OPENAI_API_KEY",
        "WANDB_API_KEY",
        "secret",
        "client_secret",
        "clientSecret",
        "HF_TOKEN",
        "access_token",
        "auth_token",
        "secret_key",
        "aws_secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
        "private_key_passphrase",
        "passphrase",
        "smtp_password",
        "KAGGLE_KEY",
        "DD_API_KEY",
        "redis-password",
        "encryption_key",
        "jwt_secret",
        "registry_token",
        "MINIO_SECRET_KEY",
        "session_secret",
        "storage_account_key",
        "mlflow_tracking_password",
        "hmac_key",
        "datadog_app_key",
        "admin_pwd",
        "master_key",
    ])
}

/// A name that says nothing.
fn dull(draw: &mut Draw) -> &'static str {
    draw.of(&[
        "value",
        "endpoint_url",
        "callback",
        "remote",
        "notes",
        "description",
        "upstream",
        "target",
        "backend",
        "extra",
        "args",
        "options",
    ])
}

pub(crate) fn config(draw: &mut Draw) -> String {
    let named = draw.below(10) < 6;
    let secret = if named && draw.below(3) > 0 { unshaped(draw) } else { shaped(draw) };
    let key = if named { name(draw) } else { dull(draw) };
    match draw.below(18) {
        0 | 1 => format!("{key} = \"{secret}\""),
        2 => format!("{key}: {secret}"),
        3 => format!("{key}: \"{secret}\""),
        4 => format!("{key}={secret}"),
        5 => format!("export {key}={secret}"),
        6 => format!("  \"{key}\": \"{secret}\","),
        7 => format!("{key} = '{secret}'  # rotate in May"),
        8 => format!("{{\"user\": \"bob\", \"{key}\": \"{secret}\", \"n\": 3}}"),
        9 => format!("settings = {{ {key} = \"{secret}\", retries = 3 }}"),
        10 => format!("extra = '{{\"{key}\": \"{secret}\"}}'"),
        11 => format!("  - {{name: worker, {key}: \"{secret}\"}}"),
        12 => format!(
            "payload = \"{}\"",
            base64(format!("{{\"{}\":\"{}\"}}", name(draw), shaped(draw)).as_bytes())
        ),
        13 => {
            let s = shaped(draw);
            format!("hosts = [\"a.example\", \"{s}\"]")
        }
        14 => {
            let s = shaped(draw);
            let (a, b) = s.split_at(6);
            format!("note = \"{a}\u{200b}{b}\"")
        }
        15 => {
            let k = name(draw);
            let d = draw.of(&HUMAN);
            format!("{k} = \"${{{}:-{d}}}\"", k.to_uppercase().replace('-', "_"))
        }
        16 => {
            let k = name(draw);
            let v = draw.of(&[
                "CHANGE_ME",
                "changeme",
                "<your-api-key>",
                "YOUR_TOKEN_HERE",
                "REPLACE_ME",
            ]);
            format!("{k}: {v}")
        }
        _ => {
            let s = unshaped(draw);
            format!(
                "command = \"train.py --{} {s} --lr 3e-4\"",
                draw.of(&["password", "api-key", "hf-token", "auth-token", "client-secret"])
            )
        }
    }
}

pub(crate) fn log(draw: &mut Draw) -> (String, String) {
    let key = name(draw);
    let secret = if draw.below(2) == 0 { unshaped(draw) } else { shaped(draw) };
    let at = format!("2026-03-{:02} 10:{:02}:07,113", draw.between(1, 28), draw.between(10, 59));
    let line = match draw.below(22) {
        0 => format!("{at} INFO  {key}={secret}"),
        1 => format!("{at} DEBUG config: {{'user': 'bob', '{key}': '{secret}', 'retries': 3}}"),
        2 => format!("{{\"level\":\"debug\",\"{key}\":\"{secret}\",\"step\":12}}"),
        3 => format!("{{\"msg\":\"sent {{\\\"{key}\\\":\\\"{secret}\\\",\\\"n\\\":1}}\"}}"),
        4 => format!("{key}: {secret}"),
        5 => format!("> Authorization: Bearer {secret}"),
        6 => format!("> X-Api-Key: {secret}"),
        7 => format!(
            "+ python train.py --{} {secret} --epochs 3",
            draw.of(&["password", "api-key", "hf-token", "client-secret"])
        ),
        8 => format!(
            "+ python train.py --{}={secret} --epochs 3",
            draw.of(&["password", "api-key", "hf-token", "client-secret"])
        ),
        9 => format!(
            "GET https://api.example.org/v1/runs?user=bob&{}={secret}&limit=10 200",
            draw.of(&["api_key", "access_token", "password"])
        ),
        10 => format!("\u{1b}[36m{key}\u{1b}[0m=\u{1b}[33m{secret}\u{1b}[0m"),
        11 => {
            let s = draw.from(ALNUM, 14);
            return (format!("{at} connecting to redis://default:{s}@cache:6379/0"), s);
        }
        12 => format!("Set-Cookie: session={secret}; Path=/; HttpOnly"),
        13 => format!("Config(lr=0.1, {key}='{secret}', epochs=3)"),
        14 => {
            let s = shaped(draw);
            return (format!("{at} ERROR request with {s} failed"), s);
        }
        15 => {
            let s = shaped(draw);
            return (format!("{at} got ['x', '{s}'] back"), s);
        }
        16 => {
            let s = shaped(draw);
            return (format!("export FOO={s}"), s);
        }
        17 => {
            let s = draw.from(HEX, 64);
            return (
                format!(
                    "GET https://b.s3.amazonaws.com/k?X-Amz-Date=20260101T000000Z&X-Amz-Signature={s}"
                ),
                s,
            );
        }
        18 => {
            let s = draw.from(BASE64, 43).replace(['+', '/'], "%2B");
            return (
                format!(
                    "PUT https://acc.blob.core.windows.net/c/b?sv=2022-11-02&sr=b&sig={s}%3D 201"
                ),
                s,
            );
        }
        19 => format!("os.environ[\"{key}\"] = \"{secret}\""),
        20 => {
            let s = format!("{}:{}", draw.from(ALNUM, 5), draw.from(ALNUM, 14));
            let b = base64(s.as_bytes());
            return (format!("> Authorization: Basic {b}"), b);
        }
        _ => format!("  {key}:   '{secret}'"),
    };
    let secret = secret.strip_prefix("https://").unwrap_or(&secret).to_owned();
    let secret = secret
        .strip_prefix("postgresql://trainer:")
        .and_then(|s| s.split('@').next())
        .map_or(secret.clone(), str::to_owned);
    (line, secret)
}
