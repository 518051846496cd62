//! What all statements of a server share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::lake::{Lake, Resolved, Stores, files};
use crate::observe::{Metrics, Webhook};

/// The server's services below the road.
#[derive(Debug)]
pub struct Ground {
    pub catalog: Arc<Catalog>,
    pub lake: Arc<Lake>,
    pub engine: Arc<Engine>,
    pub files: FileAccess,
    pub metrics: Arc<Metrics>,
    /// Who is told of failed expectations.
    pub webhook: Option<Webhook>,
}

/// Which files of the server's own disk COPY and the `read_…` functions may touch.
#[derive(Debug, Clone, Default)]
pub struct FileAccess {
    /// Folders that server files must lie in; empty means anywhere.
    pub roots: Vec<PathBuf>,
    /// Its files are behind the catalog's rights.
    pub warehouse: Option<Resolved>,
    /// Of a model that is imported.
    pub model_bytes_max: u64,
}

/// What a statement is about to do with a place, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As messages call it.
    pub statement: &'a str,
    pub superuser: bool,
    pub writes: bool,
}

impl FileAccess {
    /// The place that a path or URL means, for whoever may go there: a statement opens what it gets from here, never the text.
    /// A place on the server's disk or in its memory is refused to a role that is no superuser, and one outside the allowed roots to everybody.
    /// Those of object stores are governed by the server's credentials and pass, those of the warehouse for superusers.
    ///
    /// # Errors
    /// 22023 for what is no location, 42501.
    pub fn open(&self, stores: &Stores, location: &str, asked: Asked<'_>) -> Result<Resolved> {
        let place = stores.resolve(location)?;
        self.check(&place, location, asked)?;
        Ok(place)
    }

    /// What decides is the place, because a text has many spellings.
    fn check(&self, place: &Resolved, location: &str, asked: Asked<'_>) -> Result<()> {
        if !place.is_local() {
            if place.location.scheme() == "memory" && !asked.superuser {
                let message = format!("permission denied for location \"{location}\"");
                return Err(Error::new(SqlState::InsufficientPrivilege, message)
                    .with_detail("It is the server's memory, which only superusers read and write."));
            }
            if asked.superuser || !self.is_of_warehouse(place) {
                return Ok(());
            }
            let message = format!("permission denied for location \"{location}\"");
            return Err(Error::new(SqlState::InsufficientPrivilege, message)
                .with_detail("It lies in the warehouse, whose files only superusers read and write by their names."));
        }
        if !asked.superuser {
            return Err(refused(asked));
        }
        files::check_within(&self.roots, &Path::new("/").join(place.path.as_ref()))
    }

    /// Whether the place leads into the warehouse or around it.
    fn is_of_warehouse(&self, place: &Resolved) -> bool {
        let Some(warehouse) = self.warehouse.as_ref().filter(|warehouse| warehouse.may_share_bucket(place)) else {
            return false;
        };
        let folder = |place: &Resolved| match place.path.as_ref() {
            "" => String::new(),
            path => format!("{path}/"),
        };
        // What stands before the first pattern decides.
        let path = folder(place);
        let plain = path.split(['*', '?', '[', '{', '\\']).next().unwrap_or_default();
        let root = folder(warehouse);
        plain.starts_with(&root) || root.starts_with(plain)
    }
}

fn refused(Asked { statement, writes, .. }: Asked<'_>) -> Error {
    let (verb, role) = if writes { ("to", "pg_write_server_files") } else { ("from", "pg_read_server_files") };
    let message = format!("permission denied to {statement} {verb} a file");
    let detail = format!("Only roles with privileges of the \"{role}\" role may {statement} {verb} a file.");
    let refused = Error::new(SqlState::InsufficientPrivilege, message).with_detail(detail);
    match statement {
        "COPY" => {
            refused.with_hint("Anyone can COPY to stdout or from stdin. psql's \\copy command also works for anyone.")
        }
        _ => refused,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn stores(warehouse: &str) -> Stores {
        let options = [("aws_region", "eu-west-1"), ("aws_access_key_id", "k"), ("aws_secret_access_key", "s")]
            .into_iter()
            .chain([("azure_storage_account_name", "a"), ("azure_storage_account_key", "aGVsbG8=")]);
        Stores::new(
            warehouse,
            options.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<HashMap<_, _>>(),
        )
        .unwrap()
    }

    fn code(access: &FileAccess, stores: &Stores, location: &str, superuser: bool, writes: bool) -> &'static str {
        let asked = Asked { statement: "COPY", superuser, writes };
        match access.open(stores, location, asked) {
            Ok(_) => "00000",
            Err(error) => error.sqlstate().code(),
        }
    }

    #[test]
    fn only_superusers_touch_server_files() {
        let (access, stores) = (FileAccess::default(), stores("memory://lake"));
        for file in [
            "/etc/passwd",
            "etc/passwd",
            "file:/etc/passwd",
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "File:///etc/passwd",
            " file:///etc/passwd",
            "\tfile:///etc/passwd",
            "file:/etc/passwd#://",
            "file:/etc/passwd?://",
            "file:etc/passwd#://",
            "file:\\\\\\etc\\passwd#://",
            "file://localhost/etc/passwd",
            "f\nile:///etc/passwd",
        ] {
            for writes in [false, true] {
                assert_eq!(code(&access, &stores, file, false, writes), "42501", "{file}");
            }
            assert_eq!(code(&access, &stores, file, true, false), "00000", "{file}");
        }
        assert_eq!(code(&access, &stores, "s3://bucket/x.csv", false, false), "00000");
    }

    #[test]
    fn the_warehouse_is_not_read_by_its_urls() {
        for (warehouse, inside, outside) in [
            (
                "s3://bucket/lake",
                &[
                    "s3://bucket/lake/public/t/x.parquet",
                    "S3://bucket/lake/public",
                    " s3://bucket/lake/public",
                    "s3a://bucket/lake/",
                    "s3a://BUCKET/lake/",
                    "s3://bucket:9000/lake/x",
                    "s3://bucket/l%61ke/x",
                    "s3://bucket/in/../lake/x",
                    "s3://bucket/in/%2e%2E/lake/x",
                    "s3://bucket/./lake/x",
                    "s3://bucket/*/public",
                    "s3://bucket/{lake,in}/public",
                    "s3://bucket/%7Blake,in%7D/public",
                    "s3://bucket/\\l*/public",
                    "s3://bucket/",
                    "s3://bucket",
                    "warehouse:public/t/x.parquet",
                ][..],
                &["s3://bucket/lakes/x.parquet", "s3://other/lake/x", "s3://bucket/in/*.csv", "gs://bucket/in"][..],
            ),
            (
                "az://bucket/lake",
                &[
                    "az://bucket/lake/x",
                    "abfss://bucket@a.dfs.core.windows.net/lake/x",
                    "abfs://bucket@a.blob.core.windows.net/%6cake/x",
                    "AZURE://bucket/lake/x",
                ][..],
                &["az://bucket/in/x", "abfss://other@a.dfs.core.windows.net/lake/x"][..],
            ),
        ] {
            let stores = stores(warehouse);
            let access = FileAccess { warehouse: stores.warehouse().ok(), ..FileAccess::default() };
            for url in inside {
                assert_eq!(code(&access, &stores, url, false, false), "42501", "{url}");
                assert_eq!(code(&access, &stores, url, true, false), "00000", "{url}");
            }
            for url in outside.iter().filter(|url| !url.starts_with("gs:")) {
                assert_eq!(code(&access, &stores, url, false, false), "00000", "{url}");
            }
        }
    }

    #[test]
    fn no_other_name_stands_for_a_bucket() {
        let stores = stores("az://bucket/lake");
        let access = FileAccess { warehouse: stores.warehouse().ok(), ..FileAccess::default() };
        for url in [
            "azure://x@bucket/lake/x",
            "adl://x@bucket/lake/x",
            "az://x@bucket/lake/x",
            "abfss://x:y@bucket.dfs.core.windows.net/lake/x",
            "s3://user@bucket/lake/x",
            "gs://user:word@bucket/lake/x",
            "warehouse:../lake/x",
            "warehouse:x/%2E%2e/y",
            "warehouse:..\\x",
        ] {
            assert_eq!(code(&access, &stores, url, true, false), "22023", "{url}");
        }
    }

    #[test]
    fn a_virtual_hosted_endpoint_is_one_bucket() {
        let options = [
            ("aws_region", "eu-west-1"),
            ("aws_access_key_id", "k"),
            ("aws_secret_access_key", "s"),
            ("aws_endpoint", "https://bucket.example.com"),
            ("aws_virtual_hosted_style_request", "true"),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let stores = Stores::new("s3://bucket/lake", options.into()).unwrap();
        let access = FileAccess { warehouse: stores.warehouse().ok(), ..FileAccess::default() };
        assert_eq!(code(&access, &stores, "s3://bucket/in/x", false, false), "00000");
        assert_eq!(code(&access, &stores, "s3a://other/lake/x", false, false), "22023");
    }

    #[test]
    fn memory_is_for_superusers() {
        let (access, stores) = (FileAccess::default(), stores("memory://lake"));
        assert_eq!(code(&access, &stores, "memory://other/x", false, true), "42501");
        assert_eq!(code(&access, &stores, "memory://other/x", true, true), "00000");
    }

    #[test]
    fn paths_stay_inside_the_roots() {
        let (root, stores) = (tempfile::tempdir().unwrap(), stores("memory://lake"));
        let access = FileAccess { roots: vec![root.path().to_owned()], ..FileAccess::default() };
        let allowed = root.path().to_str().unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere/at/all", root.path().join("dangling")).unwrap();
        for inside in [
            format!("{allowed}/a.csv"),
            format!("{allowed}/new/../a.csv"),
            format!("file://{allowed}/a.csv"),
            format!("FILE://{allowed}/%61.csv"),
            format!("{allowed}/*.csv"),
            allowed.to_owned(),
        ] {
            assert_eq!(code(&access, &stores, &inside, true, true), "00000", "{inside}");
            assert_eq!(code(&access, &stores, &inside, false, true), "42501", "{inside}");
        }
        for outside in [
            "/etc/passwd".to_owned(),
            "FILE:///etc/passwd".to_owned(),
            " file:///etc/passwd".to_owned(),
            "file:/etc/passwd#://".to_owned(),
            format!("file://{allowed}/../a.csv"),
            format!("file://{allowed}/%2e%2E/a.csv"),
            format!("{allowed}/../a.csv"),
            format!("{allowed}s/a.csv"),
            format!("{allowed}/link/passwd"),
            format!("file://{allowed}/l%69nk/passwd"),
            format!("{allowed}/dangling/a.csv"),
        ] {
            assert_eq!(code(&access, &stores, &outside, true, true), "42501", "{outside}");
        }
    }
}
