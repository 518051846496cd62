//! Files of models that are damaged, of another format or too large.

use sha2::{Digest as _, Sha256};

use super::artifacts;
use super::unnamed::TRAIN;
use crate::protocol::Connection;
use crate::server::{Home, Server};

#[tokio::test(flavor = "multi_thread")]
async fn no_changed_byte_is_imported() {
    let home = Home::new();
    let server = Server::start_in(&home, &["--set", "files.model_bytes_max=64kB"]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    connection.command(&format!("CREATE MODEL m {TRAIN}")).await.unwrap();
    let path = |name: &str| home.path().join(name);
    let import = |name: &str| format!("IMPORT MODEL other FROM '{}'", path(name).display());
    connection.command(&format!("EXPORT MODEL m TO '{}'", path("m.lgmodel").display())).await.unwrap();
    let whole = std::fs::read(path("m.lgmodel")).unwrap();
    assert_eq!(whole, std::fs::read(&artifacts(&home)[0]).unwrap());
    let write = |bytes: &[u8]| std::fs::write(path("bad.lgmodel"), bytes).unwrap();
    let refused = async |connection: &mut Connection, what: String| {
        let error = connection.command(&import("bad.lgmodel")).await.expect_err(&what);
        error.code().to_owned()
    };
    for at in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        write(&changed);
        let code = refused(&mut connection, format!("byte {at} was changed")).await;
        // The number of the format is read before the checksum.
        assert!(code == "XX001" || ((8..12).contains(&at) && code == "0A000"), "byte {at}: {code}");
        write(&whole[..at]);
        assert_eq!(refused(&mut connection, format!("cut at {at}")).await, "XX001", "cut at {at}");
    }
    let mut newer = whole.clone();
    newer[8] = 2;
    write(&newer);
    assert_eq!(refused(&mut connection, "a newer format".to_owned()).await, "0A000");
    write(&vec![0; 65 * 1024]);
    assert_eq!(refused(&mut connection, "a large file".to_owned()).await, "54000");
    assert_eq!(connection.value("SELECT count(*) FROM lakegate.models").await.unwrap(), "1");
    assert_eq!(artifacts(&home).len(), 1, "a refused file left something");
    connection.command(&import("m.lgmodel")).await.unwrap();
    let same = "SELECT count(*) FROM generate_series(1, 50) a WHERE predict_proba('m', a => a, b => 1) <> predict_proba('other', a => a, b => 1)";
    assert_eq!(connection.value(same).await.unwrap(), "0");
}

/// The file with one bit changed and a checksum that fits.
fn forged(whole: &[u8], at: usize, bit: u8) -> Vec<u8> {
    let mut bytes = whole[..whole.len() - 32].to_vec();
    bytes[at] ^= bit;
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_forged_file_says_the_server_goes_on() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let kinds = [
        "random_forest_classifier', num_trees = 3, label = 'high",
        "logistic_regression', l2_reg = 1, label = 'high",
        "kmeans",
    ];
    for kind in kinds {
        let rows = "SELECT g % 7 AS a, 'c' || g % 11 AS b, g % 7 > 3 AS high FROM generate_series(1, 300) g";
        let sql = format!("CREATE OR REPLACE MODEL m OPTIONS (model_type = '{kind}') AS {rows}");
        connection.command(&sql).await.unwrap();
        let (good, bad) = (home.path().join("good.lgmodel"), home.path().join("bad.lgmodel"));
        connection.command(&format!("EXPORT MODEL m TO '{}'", good.display())).await.unwrap();
        let whole = std::fs::read(&good).unwrap();
        let mut imported = 0;
        for at in (8..whole.len() - 32).step_by(whole.len() / 120 + 1) {
            std::fs::write(&bad, forged(&whole, at, 1 << (at % 7))).unwrap();
            match connection.command(&format!("IMPORT OR REPLACE MODEL forged FROM '{}'", bad.display())).await {
                Ok(_) => imported += 1,
                Err(error) => {
                    assert!(matches!(error.code(), "XX001" | "0A000"), "{kind}, byte {at}: {error}");
                    continue;
                }
            }
            let asked = [
                "SELECT predict('forged', t.*) FROM (SELECT 1 AS a, 'c1' AS b, true AS high) t",
                "SELECT * FROM ML.FEATURE_INFO(MODEL forged)",
                "DESCRIBE MODEL forged",
                "EXPORT MODEL forged TO 'forged.onnx' OPTIONS (null_text = '-')",
                "SELECT * FROM lakegate.model_versions",
            ];
            for sql in asked {
                if let Err(error) = connection.query(sql).await {
                    assert!(error.code() != "XX000", "{kind}, byte {at}, {sql}: {error}");
                }
            }
        }
        assert!(imported > 0, "no change of {kind} was harmless");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_models_of_one_id_are_two() {
    let home = Home::new();
    let server = Server::start_in(&home, &[]);
    let mut connection = Connection::superuser(server.address()).await.unwrap();
    let train = "CREATE MODEL m OPTIONS (model_type = 'linear_regression', label = 'y') AS SELECT g AS x, 2.0 * g AS y FROM generate_series(1, 50) g";
    connection.command(train).await.unwrap();
    let path = |name: &str| home.path().join(name);
    connection.command(&format!("EXPORT MODEL m TO '{}'", path("m.lgmodel").display())).await.unwrap();
    let whole = std::fs::read(path("m.lgmodel")).unwrap();
    let import = format!("IMPORT OR REPLACE MODEL forged FROM '{}'", path("forged.lgmodel").display());
    let alone = connection.value("SELECT predict('m', x => 7)").await.unwrap();
    // What was learned stands behind the header, which has the id.
    for at in (whole.len() / 2..whole.len() - 32).rev() {
        std::fs::write(path("forged.lgmodel"), forged(&whole, at, 0x08)).unwrap();
        if connection.command(&import).await.is_err() {
            continue;
        }
        let Ok(other) = connection.value("SELECT predict('forged', x => 7)").await else { continue };
        if other == alone {
            continue;
        }
        let both =
            connection.rows("SELECT predict('m', x => g), predict('forged', x => g) FROM generate_series(7, 7) g");
        assert_eq!(both.await.unwrap(), [[alone, other]]);
        return;
    }
    panic!("no byte changes what the model predicts");
}
