//! What is told to be a secret by what stands around it, and what only looks so.

use crate::Redactor;
use crate::rules::tests::vendor;
use crate::stream::Piece;

/// The lines as they come out, when they come in pieces of two.
fn redacted(text: &str, cut: usize) -> String {
    let mut redactor = Redactor::new(vendor(), &[]);
    let mut shown = Vec::new();
    let mut out = |piece: Piece<'_>| match piece {
        Piece::Text(text) => shown.extend_from_slice(text),
        Piece::Secret(rule) => shown.extend_from_slice(vendor().marker(rule).as_bytes()),
    };
    let (first, second) = text.as_bytes().split_at(cut);
    redactor.feed(vendor(), first, &mut out);
    redactor.feed(vendor(), second, &mut out);
    redactor.finish(vendor(), &mut out);
    String::from_utf8(shown).expect("what is cut out is whole")
}

#[test]
fn passwords_on_command_lines_and_in_announcements() {
    for (line, secret) in [
        ("+ docker login -u bob -p Xk9mQ2w7 registry.example.org", "Xk9mQ2w7"),
        ("$ mysql -h db -u root -pMango90Garnet features < dump.sql", "Mango90Garnet"),
        ("$ redis-cli -h cache -a Willow_raven ping", "Willow_raven"),
        ("+ sshpass -p 'Birch67!' rsync -a a b", "Birch67!"),
        ("ipmitool -I lanplus -U ADMIN -P monkeybusiness power status", "monkeybusiness"),
        ("+ zip -P geheim76 out.zip data.csv", "geheim76"),
        ("$ smbclient //nas/raw -U bob%Summer48", "Summer48"),
        ("$ ldapsearch -x -D cn=admin -w trpm-08qj -b dc=x", "trpm-08qj"),
        ("args [\"docker\", \"login\", \"-p\", \"Xk9mQ2w7\"]", "Xk9mQ2w7"),
        ("mc alias set lab https://minio.lab:9000 bob osAn2iOpRIIMI", "osAn2iOpRIIMI"),
        ("rabbitmqctl change_password bob GgiM-uxkd", "GgiM-uxkd"),
        ("+ echo 'Garnet24' | sudo -S mount /mnt", "Garnet24"),
        ("echo bob:iloveyou | chpasswd", "iloveyou"),
        ("COMMAND=/usr/sbin/chpasswd <<< bob:mustang", "bob:mustang"),
        ("net use Z: \\\\nas\\raw /user:LAB\\bob u67AFQlqg5", "u67AFQlqg5"),
        ("jdbc:oracle:thin:bob/vfOMiavJt2feCSp@//db:1521/X", "vfOMiavJt2feCSp"),
        ("db.lab.org:5432:features:bob:dPh6oGeRR4v", "dPh6oGeRR4v"),
        ("ALTER USER 'bob'@'%' IDENTIFIED BY 'wdoNF4rS';", "wdoNF4rS"),
        ("ALTER ROLE bob WITH LOGIN PASSWORD 'qR+wlfDv';", "qR+wlfDv"),
        ("INSERT INTO users (name, password) VALUES ('mara', 'Dingo36!');", "Dingo36!"),
        ("PS> ConvertTo-SecureString \"Amber_maple\" -AsPlainText", "Amber_maple"),
        ("initial password for argocd admin: cVaEpAczlmmGkhax", "cVaEpAczlmmGkhax"),
        ("A temporary password is generated for root@localhost: Saffron88!", "Saffron88!"),
        ("Your new API token (shown once): mj05uktVVPVzwbFyks5Z", "mj05uktVVPVzwbFyks5Z"),
        ("Password for the elastic user (x):\n  xIWnqadDdnT47AlsG\n", "xIWnqadDdnT47AlsG"),
        ("Unseal Key 1: fH/0dVJS+Tebhj0hy8NcVOfYep6oketF", "fH/0dVJS+Tebhj0hy8NcVOfYep6oketF"),
        ("smtp login: user=bob pass=coffee", "coffee"),
        ("setenv LAB_PASS baseball123", "baseball123"),
        ("db pass is chocolate14", "chocolate14"),
        ("requests.get(url, auth=(\"bob\", \"Pixel34Copper\"))", "Pixel34Copper"),
        ("│ db_password │ jgv6GcR863iA36Iut │", "jgv6GcR863iA36Iut"),
        ("NEO4J_AUTH=neo4j/velvet-stone-82", "velvet-stone-82"),
        ("PDO->__construct('mysql:host=db', 'bob', 'Banjo295.ll') in /x.php:58", "Banjo295.ll"),
        ("+ rclone obscure stone-orbit-33", "stone-orbit-33"),
        ("array(1) { [\"secret\"]=> string(12) \"fd3f14ca759e\" }", "fd3f14ca759e"),
        ("withEnv [NEXUS_PASS=JVvzyEUSJEqWFuCidIO, N=45]", "JVvzyEUSJEqWFuCidIO"),
        ("VNC desktop :22 password is QgZoufvR", "QgZoufvR"),
        ("password = \"abc12345\\\nnext", "abc12345"),
        ("to http://bob:gh9o#3g1MkmBZ8hc@github.org/x", "gh9o#3g1MkmBZ8hc"),
        ("ADMIN_TOKEN:\r\n AvuylxqNQ-FJOneE30iegNTf5wW\n", "AvuylxqNQ-FJOneE30iegNTf5wW"),
        ("body: %7B%22password%22%3A%22HdiW-r1lb%22%7D", "HdiW-r1lb"),
        ("{'auth': {'pw': 'Walnut22!'}}", "Walnut22!"),
        (
            "POST https://api.telegram.org/bot5531815305:AARvfGr8WtjFawbx4EnJ5ikOpGpfNhasKa8/send",
            "AARvfGr8WtjFawbx4EnJ5ikOpGpfNhasKa8",
        ),
    ] {
        let whole = redacted(line, 0);
        assert!(whole.contains("[redacted:") && !whole.contains(secret), "{line} -> {whole}");
        assert_eq!(whole.matches('\n').count(), line.matches('\n').count(), "{line}");
        for cut in 1..line.len() {
            assert_eq!(redacted(line, cut), whole, "{line} in two at {cut}");
        }
    }
}

#[test]
fn what_only_looks_so_stays() {
    for line in [
        "docker run -p 8080:80 --rm image",
        "pip install -p /usr/bin/python3 x",
        "mkdir -p /outputs/run-12ab34cd",
        "ssh -p 2222 host",
        "docker login -u bob -p $REGISTRY_PASSWORD",
        "Cache restored from key: Linux-pip-2bfb0143f7dd93d08c026a7d639b6cca22f5bb2898967af99b4cd6d053aabbcc",
        "GPG_KEY=393FF88CB13C4E078579833BAB65BE791DCA3C6B",
        "gpg:                using RSA key 0DACE4E4D07E43EC7D1CA052FBA43A990686064F",
        "Bearer token authentication enabled",
        "CREATE TABLE tokens (id INT PRIMARY KEY, token TEXT NOT NULL, password VARCHAR(64))",
        "    secret = vault.read(path)[\"data\"][\"password\"]",
        "    secret_key = load_secret(\"/run/secrets/key\")",
        "    password = getpass.getpass(\"Password: \")",
        "HF_TOKEN:  <set to the key 'token' in secret 'hf'>  Optional: false",
        "  imagePullSecrets: regcred",
        "{\"auth_method\":\"password\",\"mfa\":true}",
        "usage: x [--password PASS] [--token TOKEN]",
        "Created key [9cc32eae9cca9cc32eae9cca9cc32eae9cca0011] of type [json]",
        "Password authentication failed for user \"bob\": FATAL28P01",
        "\"Cleaning expired token\" secret=\"kube-system/bootstrap-token-ba8pal\"",
        "PublicKeyToken=ac730c36f6bf550f, Version=4.0.0.0",
        "> Sec-WebSocket-Key: CkFSL5/B5ku9RuRXTUZnNw==",
        "s3 key=raw/2025/13/91b4ebae-dcec-4a20-bfcd-115884fedb84.dcm",
        "checksum/secret: c95dd4b9484ecc5c728945a5ac2c71e264cb47a6d229301d306fe0e0165891de",
        "[sudo] password for bob: \nLast login: today",
        "passwd < file1\nnext",
    ] {
        for cut in 0..line.len() {
            assert_eq!(redacted(line, cut), line, "in two at {cut}");
        }
    }
}

#[test]
fn others_before_a_secret_of_a_command_line_are_found_too() {
    let long = "x9K".repeat(700);
    for (line, hidden) in [
        (
            "mc alias set m https://bob:Pw12ab34@h AKIAQ3EGZX7K2M4N5P6R osAn2iOpRIIMI".to_owned(),
            vec!["Pw12ab34", "AKIAQ3EGZX7K2M4N5P6R", "osAn2iOpRIIMI"],
        ),
        (
            "INSERT INTO u (dsn,password) VALUES ('postgres://a:Pw12ab34@h/x','Dingo36!')"
                .to_owned(),
            vec!["Pw12ab34", "Dingo36!"],
        ),
        (
            "rabbitmqctl -p hf_aBcDeFgHiJkLmNoPqRsTuVwXyZ12345678 add_user bob GgiM-uxkd"
                .to_owned(),
            vec!["hf_aBcDeFgHiJkLmNoPqRsTuVwXyZ12345678", "GgiM-uxkd"],
        ),
        (format!("docker login -u AWS -p {long} host"), vec![&long[..12]]),
        (format!("vault login {long}"), vec![&long[..12]]),
    ] {
        for cut in [0, 20, line.len() / 2, line.len() - 3] {
            let shown = redacted(&line, cut);
            assert!(hidden.iter().all(|secret| !shown.contains(secret)), "{cut}: {shown}");
        }
    }
}
