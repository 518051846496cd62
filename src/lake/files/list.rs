//! From a path or glob to the files that it means.
//!
//! `*` and `?` stay inside one folder, `**` crosses folders, `[a-z]` and `[!a-z]` are one character, `{a,b}` alternatives.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::execution::object_store::ObjectStoreUrl;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use regex::Regex;

use super::table::FileSet;
use crate::error::{Error, Result, SqlState};
use crate::lake::stores::{is_local_disk, list_linked, store_url};

/// Files that one path may mean.
const FILES_MAX: usize = 1_000_000;
/// Named files that are asked for at a time.
const HEADS_AHEAD: usize = 16;

impl FileSet {
    /// The files that `path_or_glob` means in a store, sorted by path: the file itself, all files under a folder (those whose
    /// name or folder begins with `_` or `.` are hidden), or what a glob matches.
    ///
    /// # Errors
    /// 58P01 when there is none, 22023 for a malformed glob, 54000 for too many, and the store's own.
    pub async fn find(store: Arc<dyn ObjectStore>, url: ObjectStoreUrl, path_or_glob: &str) -> Result<Self> {
        let wanted = path_or_glob.trim_start_matches('/');
        let (files, depth) = list(&store, &url, wanted).await?;
        let set = Self { store, url, files: Arc::new(files), depth };
        if set.files.is_empty() {
            return Err(not_found(&set.name(wanted)));
        }
        Ok(set)
    }

    /// The same where there may be none.
    ///
    /// # Errors
    /// As [`find`](Self::find), but for 58P01.
    pub async fn find_any(store: Arc<dyn ObjectStore>, url: ObjectStoreUrl, path_or_glob: &str) -> Result<Self> {
        let (files, depth) = list(&store, &url, path_or_glob.trim_start_matches('/')).await?;
        Ok(Self { store, url, files: Arc::new(files), depth })
    }

    /// The files of these names below a folder, each once.
    ///
    /// # Errors
    /// 58P01 when one is not there, and the store's own.
    pub async fn named(
        store: Arc<dyn ObjectStore>,
        url: ObjectStoreUrl,
        folder: &str,
        names: &[String],
    ) -> Result<Self> {
        let folder = folder.trim_matches('/');
        let below = |name: &String| format!("{folder}/{}", name.trim_start_matches('/'));
        let paths: Vec<String> = names.iter().map(below).collect();
        let mut found: Vec<ObjectMeta> = futures::stream::iter(paths)
            .map(|path| {
                let (store, url) = (Arc::clone(&store), url.clone());
                async move { head(&store, &url, &path).await }
            })
            .buffered(HEADS_AHEAD)
            .try_collect()
            .await?;
        let mut seen = HashSet::new();
        found.retain(|file| seen.insert(file.location.clone()));
        let depth = path_of(folder)?.parts().count();
        Ok(Self { store, url, files: Arc::new(found), depth })
    }

    /// Those of the files that are wanted.
    #[must_use]
    pub fn filtered(&self, mut is_wanted: impl FnMut(&str, &ObjectMeta) -> bool) -> Self {
        let files = self.files.iter().filter(|file| is_wanted(&self.name(file.location.as_ref()), file));
        Self { files: Arc::new(files.cloned().collect()), ..self.clone() }
    }

    /// Whether they lie on the server's own disk.
    pub fn is_local(&self) -> bool {
        is_local_disk(&self.url)
    }

    /// A file as people name it.
    pub(super) fn name(&self, key: &str) -> String {
        file_name(&self.url, key)
    }
}

async fn head(store: &Arc<dyn ObjectStore>, url: &ObjectStoreUrl, path: &str) -> Result<ObjectMeta> {
    match store.head(&path_of(path)?).await {
        Err(object_store::Error::NotFound { .. }) => Err(not_found(&file_name(url, path))),
        found => Ok(found?),
    }
}

fn not_found(name: &str) -> Error {
    let message = format!("could not open file \"{name}\" for reading: No such file or directory");
    Error::new(SqlState::UndefinedFile, message)
}

/// A file as people name it: a path of the local disk, or a whole URL.
pub(super) fn file_name(url: &ObjectStoreUrl, key: &str) -> String {
    if is_local_disk(url) { format!("/{key}") } else { format!("{}{key}", store_url(url)) }
}

/// The files, sorted, and how deep the folder lies that they were looked for in.
async fn list(store: &Arc<dyn ObjectStore>, url: &ObjectStoreUrl, wanted: &str) -> Result<(Vec<ObjectMeta>, usize)> {
    let (mut files, folder) = match wanted.find(['*', '?', '[', '{']) {
        Some(first) => (list_glob(store, url, wanted, first).await?, folder_before(wanted, first)),
        None => (list_plain(store, url, wanted).await?, wanted),
    };
    files.sort_by(|left, right| left.location.cmp(&right.location));
    Ok((files, path_of(folder)?.parts().count()))
}

/// The folder that a glob looks in: what stands before its first special character, up to a slash.
fn folder_before(glob: &str, first: usize) -> &str {
    glob.get(..first).and_then(|before| before.rfind('/')).and_then(|end| glob.get(..end)).unwrap_or("")
}

fn path_of(text: &str) -> Result<Path> {
    // The disk's paths lose tabs and newlines on their way, and `.<tab>.` would become a step upwards.
    if text.contains(|char: char| char.is_ascii_control()) {
        let message = format!("\"{}\" is not a valid path", text.escape_debug());
        return Err(Error::new(SqlState::InvalidParameterValue, message));
    }
    Path::parse(text.trim_end_matches('/')).map_err(|error| {
        Error::new(SqlState::InvalidParameterValue, format!("\"{text}\" is not a valid path")).with_source(error)
    })
}

async fn list_plain(store: &Arc<dyn ObjectStore>, url: &ObjectStoreUrl, wanted: &str) -> Result<Vec<ObjectMeta>> {
    let path = path_of(wanted)?;
    if !wanted.ends_with('/') && !wanted.is_empty() {
        match store.head(&path).await {
            Ok(file) => return Ok(vec![file]),
            Err(object_store::Error::NotFound { .. }) => {}
            // A local folder is no file and is said so in other words.
            Err(_) if !list_folder(store, url, &path).await?.is_empty() => {}
            Err(error) => return Err(error.into()),
        }
    }
    list_folder(store, url, &path).await
}

async fn list_folder(store: &Arc<dyn ObjectStore>, url: &ObjectStoreUrl, folder: &Path) -> Result<Vec<ObjectMeta>> {
    let depth = folder.parts().count();
    let visible = |file: &ObjectMeta| !file.location.parts().skip(depth).any(|part| is_hidden(part.as_ref()));
    collect(store, url, folder, visible).await
}

async fn list_glob(
    store: &Arc<dyn ObjectStore>,
    url: &ObjectStoreUrl,
    glob: &str,
    first: usize,
) -> Result<Vec<ObjectMeta>> {
    let folder = folder_before(glob, first);
    let pattern = glob_regex(glob)?;
    let base = path_of(folder)?;
    let depth = base.parts().count();
    // Somebody who writes the underscore himself means it.
    let shows_hidden = glob.split('/').skip(depth).any(is_hidden);
    let matching = |file: &ObjectMeta| {
        pattern.is_match(file.location.as_ref())
            && (shows_hidden || !file.location.parts().skip(depth).any(|part| is_hidden(part.as_ref())))
    };
    collect(store, url, &base, matching).await
}

async fn collect(
    store: &Arc<dyn ObjectStore>,
    url: &ObjectStoreUrl,
    folder: &Path,
    wanted: impl Fn(&ObjectMeta) -> bool,
) -> Result<Vec<ObjectMeta>> {
    let prefix = (!folder.as_ref().is_empty()).then_some(folder);
    let mut found = Vec::new();
    let mut files = list_linked(store, url, prefix);
    while let Some(file) = files.try_next().await? {
        if !wanted(&file) {
            continue;
        }
        if found.len() >= FILES_MAX {
            return Err(Error::new(SqlState::ProgramLimitExceeded, format!("more than {FILES_MAX} files match")));
        }
        found.push(file);
    }
    Ok(found)
}

fn is_hidden(part: &str) -> bool {
    part.starts_with(['_', '.'])
}

/// The glob as a regular expression over whole paths.
fn glob_regex(glob: &str) -> Result<Regex> {
    let mut pattern = String::from("^");
    let mut rest = glob.chars().peekable();
    let mut braces = 0_u32;
    while let Some(char) = rest.next() {
        match char {
            '*' if rest.next_if_eq(&'*').is_some() => {
                // `**/` also matches no folder at all.
                pattern.push_str(if rest.next_if_eq(&'/').is_some() { "(?:.*/)?" } else { ".*" });
            }
            '*' => pattern.push_str("[^/]*"),
            '?' => pattern.push_str("[^/]"),
            '[' => class(&mut pattern, &mut rest),
            '{' => {
                braces += 1;
                pattern.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                pattern.push(')');
            }
            ',' if braces > 0 => pattern.push('|'),
            '\\' => pattern.push_str(&regex::escape(&rest.next().map(String::from).unwrap_or_default())),
            other => pattern.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    pattern.push('$');
    Regex::new(&pattern).map_err(|error| {
        Error::new(SqlState::InvalidParameterValue, format!("\"{glob}\" is not a valid file pattern"))
            .with_source(error)
    })
}

/// `[a-z]`, `[!a-z]`, `[^a-z]`; what looks like syntax inside is taken literally.
fn class(pattern: &mut String, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    pattern.push('[');
    if rest.next_if(|char| matches!(char, '!' | '^')).is_some() {
        pattern.push_str("^/");
    }
    let mut first = true;
    for char in rest.by_ref() {
        match char {
            ']' if !first => break,
            '-' => pattern.push('-'),
            '[' | ']' | '^' | '&' | '~' | '\\' => {
                pattern.push('\\');
                pattern.push(char);
            }
            other => pattern.push(other),
        }
        first = false;
    }
    pattern.push(']');
}
