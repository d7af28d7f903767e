//! Configurations with a secret, and with what only looks like one.

use crate::rules::tests::vendor;

#[test]
fn secrets_in_the_ways_of_many_formats() {
    for text in [
        "mot_de_passe = \"welcome-2019!!\"",
        "  \"contraseña\": \"keinplan\",",
        "otp_seed: ZC6AZMXYKLBNNKEOUCPNAV45DITRVUGK",
        "db.lab.org:5432:imaging:bob:q3OGnbcIUqdP",
        "command: [\"redis-server\", \"--requirepass\", \"6OivSlw16A2BbR\"]",
        "pre_run = \"sshpass -p 1q2w3e4r rsync -a a b\"",
        "password: >-\n  CIPZTRuCcXBMu14A\n",
        "[db.password]\nvalue = \"j!GI76Kw5zxm+U\"\n",
        "variable \"db_password\" {\n  default = \"opensesame1\"\n}\n",
        "notion: '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'",
        "oracle = \"jdbc:oracle:thin:bob/TO8kzWsuHnpK@//db:1521/LIMS\"",
        "machine ftp.lab.org\nlogin bob\npassword bampntmttjkv\n",
        "; pw: mausi123",
        "channels: [https://conda.anaconda.org/t/ab-10a6e22e-b556-4c1d-9872-7f673a0f50b5/x]",
        "client-key-data: LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tCk1IY0NBUUVFSTczTW9GWjZBMHNH",
    ] {
        assert_eq!(vendor().scan_config(text).len(), 1, "{text}");
    }
    let found = vendor().scan_config("password: >-\n  CIPZTRuCcXBMu14A\n");
    assert_eq!(found.first().map(|one| one.span.start), Some(15), "the line that it stands on");
}

#[test]
fn what_a_format_only_points_at() {
    for text in [
        "MD5=e584c05456bb6412a99c7c70714d9636",
        "- {path: models/x.pt, md5: 3f0a0bdb3868c1357958b651a648cbec, size: 7}",
        "GPG_KEY=F342F1E70354E3F7EBC527F045717B592F2F3B62",
        "signingkey = 2DC4E409D715DD7933D2147D94F076C5C8D5E493",
        "secret: !secret db_password",
        "secrets: [db_password, hf_token]",
        "secret_keys = [\"HF_TOKEN\", \"WANDB_API_KEY\"]",
        "spec:\n  encryptedData:\n    password: AgBqlbnJibfPkwKLJCX2l0zMUSeNhiCSNKH8aTaMDhghhd0dHe0\n",
        "recaptcha_site_key = \"6LCIDiJJKMp0BJWY9Qq3hFAv0KWfnm2uLDv7p1g9\"",
        "  \"token\": null,\n  \"x\": 1",
        "vpc = \"vpc-dab552cf3c4b2fdd3\"",
        "- API_KEY=${API_KEY:?must be set}",
        "secrets: inherit",
        "api_secret: $__file{/run/secrets/grafana}",
        "db_pass: ${oc.env:DB_PASS,null}",
        "tls_key: certs/tls.key",
        "LoadCredential=wandb-key:/etc/credstore/wandb.key",
        "permissions: {id-token: write, contents: read}",
        "authorized_key = \"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC0OQQNp7QeqXDT4yh3WoZX\"",
        "imagePullSecrets: [{name: regcred}]",
        "- python=3.11.4=h7c1fcde_1",
        "\"cluster_id\": {\"value\": \"7aa502f8f8d2e0b6594da132ef9bcdd5\"}",
        "signature: |\n  -----BEGIN SSH SIGNATURE-----\n  U1NIU0lHAAAAAQAAADMAAAALc3NoLWVk\n",
    ] {
        let found = vendor().scan_config(text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}
