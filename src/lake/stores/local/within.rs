//! Listings that stay in the listed folder. object_store's walk follows symbolic links wherever they lead, and much of what is
//! listed is removed afterwards: by VACUUM, DROP and COPY … OVERWRITE.
//!
//! What lies in the folder, wherever links within it lead, stays in the listing. The folder's own name, or one above it, may be
//! a link: what is compared are the places where names really lead.
//!
//! A file costs one `lstat` more than the three calls that object_store makes for it. A place is resolved only for links, and once
//! for each folder below the listed one, as the walk comes to it.

use std::cell::OnceCell;
use std::path::{Path as FilePath, PathBuf};

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ListResult, ObjectMeta, Result};

use super::blocking;

/// Files that are looked at in one go on the blocking pool: as many as object_store reads in one.
const FILES_AT_A_TIME: usize = 1024;

/// The listing without the files that really lie outside of the listed folder.
pub(super) fn files(
    listed: BoxStream<'static, Result<ObjectMeta>>,
    prefix: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let Some(folder) = ListedFolder::of(prefix) else { return listed };
    let chunks = listed.ready_chunks(FILES_AT_A_TIME);
    stream::try_unfold((chunks, folder), |(mut chunks, mut folder)| async move {
        let Some(mut found) = chunks.next().await else { return Ok(None) };
        let (found, folder) = blocking(move || {
            found.retain(|file| match file {
                Ok(file) => folder.holds(&file.location),
                Err(_) => true,
            });
            Ok((found, folder))
        })
        .await?;
        Ok::<_, Error>(Some((stream::iter(found), (chunks, folder))))
    })
    .try_flatten()
    .boxed()
}

/// The same for the files and folders of one level.
pub(super) async fn level(mut listed: ListResult, prefix: Option<&Path>) -> Result<ListResult> {
    let Some(mut folder) = ListedFolder::of(prefix) else { return Ok(listed) };
    blocking(move || {
        listed.objects.retain(|file| folder.holds(&file.location));
        listed.common_prefixes.retain(|below| folder.holds(below));
        Ok(listed)
    })
    .await
}

/// The first of the files that really lies outside of the folder. What is gone meanwhile lies nowhere.
pub(in crate::lake) async fn first_outside(folder: &Path, files: Vec<Path>) -> Result<Option<Path>> {
    let Some(mut folder) = ListedFolder::of(Some(folder)) else { return Ok(None) };
    blocking(move || Ok(files.into_iter().find(|file| !folder.holds(file) && on_disk(file).exists()))).await
}

/// The folder that is listed.
struct ListedFolder {
    path: PathBuf,
    /// Where it really is, once that is asked; `None` when it is gone.
    real: OnceCell<Option<PathBuf>>,
    /// The folder below it that was asked for last, and whether it is within: a walk comes folder by folder.
    last: Option<(PathBuf, bool)>,
}

impl ListedFolder {
    /// `None` for the whole disk, which no link leaves.
    fn of(prefix: Option<&Path>) -> Option<Self> {
        let prefix = prefix.filter(|prefix| !prefix.is_root())?;
        Some(Self { path: on_disk(prefix), real: OnceCell::new(), last: None })
    }

    /// Whether the file or folder of that name really lies in it. What is gone meanwhile does not.
    fn holds(&mut self, location: &Path) -> bool {
        let path = on_disk(location);
        match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => self.really_holds(&path),
            Ok(_) => path.parent().is_some_and(|folder| self.holds_folder(folder)),
            Err(_) => false,
        }
    }

    fn holds_folder(&mut self, folder: &FilePath) -> bool {
        if folder == self.path {
            return true;
        }
        if let Some((last, is_within)) = &self.last
            && last == folder
        {
            return *is_within;
        }
        let is_within = self.really_holds(folder);
        self.last = Some((folder.to_owned(), is_within));
        is_within
    }

    fn really_holds(&self, path: &FilePath) -> bool {
        let real = self.real.get_or_init(|| self.path.canonicalize().ok());
        real.as_ref().is_some_and(|real| path.canonicalize().is_ok_and(|path| path.starts_with(real)))
    }
}

fn on_disk(location: &Path) -> PathBuf {
    FilePath::new("/").join(location.as_ref())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use object_store::ObjectStore;

    use super::super::{LocalDisk, list_linked};
    use super::*;

    /// A folder `in` with files and links, a folder `out` beside it, and `alias`, which is a link to `in`.
    fn linked() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let (inside, outside) = (home.path().join("in"), home.path().join("out"));
        for folder in [inside.join("sub/deep"), outside.join("deep")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        for file in ["in/a", "in/sub/b", "in/sub/deep/c", "out/x", "out/deep/y"] {
            std::fs::write(home.path().join(file), "1").unwrap();
        }
        for (target, link) in [
            (outside.clone(), "out-folder"),
            (outside.join("x"), "out-file"),
            (outside.join("deep"), "sub/out-folder"),
            (inside.join("sub/deep"), "in-folder"),
            (inside.join("a"), "sub/in-file"),
            (home.path().join("nowhere"), "dangling"),
        ] {
            symlink(target, inside.join(link)).unwrap();
        }
        symlink(&inside, home.path().join("alias")).unwrap();
        // From outside back into the folder.
        symlink(inside.join("sub/deep"), outside.join("back")).unwrap();
        home
    }

    fn key(home: &tempfile::TempDir, name: &str) -> Path {
        Path::from_absolute_path(home.path().join(name)).unwrap()
    }

    fn names<'a>(found: impl IntoIterator<Item = &'a Path>, folder: &Path) -> String {
        let name = |path: &Path| {
            let parts: Vec<String> = path.prefix_match(folder).unwrap().map(|part| part.as_ref().to_owned()).collect();
            parts.join("/")
        };
        let mut names: Vec<String> = found.into_iter().map(name).collect();
        names.sort();
        names.join(" ")
    }

    async fn listed(files: BoxStream<'static, Result<ObjectMeta>>, folder: &Path) -> String {
        let files: Vec<ObjectMeta> = files.try_collect().await.unwrap();
        names(files.iter().map(|file| &file.location), folder)
    }

    /// All that is in the folder, under each of its names.
    const WITHIN: &str = "a in-folder/c out-folder/back/c sub/b sub/deep/c sub/in-file";

    #[tokio::test]
    async fn a_listing_leaves_out_what_links_lead_out_to() {
        let (home, disk) = (linked(), LocalDisk::new(false));
        let folder = key(&home, "in");
        assert_eq!(listed(disk.list(Some(&folder)), &folder).await, WITHIN);
        let offset = key(&home, "in/sub");
        assert_eq!(
            listed(disk.list_with_offset(Some(&folder), &offset), &folder).await,
            "sub/b sub/deep/c sub/in-file"
        );
        // What is in the listed folder may be out of one above it.
        let linked = key(&home, "in/out-folder");
        assert_eq!(listed(disk.list(Some(&linked)), &linked).await, "deep/y x");
        assert_eq!(listed(disk.list(Some(&key(&home, "none"))), &folder).await, "");
    }

    #[tokio::test]
    async fn a_level_leaves_out_what_links_lead_out_to() {
        let (home, disk) = (linked(), LocalDisk::new(false));
        for (folder, files, folders) in
            [("in", "a", "in-folder sub"), ("in/sub", "b", "deep"), ("alias", "a", "in-folder sub")]
        {
            let folder = key(&home, folder);
            let level = disk.list_with_delimiter(Some(&folder)).await.unwrap();
            assert_eq!(names(level.objects.iter().map(|file| &file.location), &folder), files, "{folder}");
            assert_eq!(names(&level.common_prefixes, &folder), folders, "{folder}");
        }
    }

    #[tokio::test]
    async fn the_folder_itself_may_be_behind_a_link() {
        let (home, disk) = (linked(), LocalDisk::new(false));
        let folder = key(&home, "alias");
        assert_eq!(listed(disk.list(Some(&folder)), &folder).await, WITHIN);
        let below = key(&home, "alias/sub");
        assert_eq!(listed(disk.list(Some(&below)), &below).await, "b deep/c");
    }

    #[tokio::test]
    async fn who_reads_finds_what_lies_behind_links() {
        let home = linked();
        let folder = key(&home, "in/sub");
        assert_eq!(listed(list_linked(Some(&folder)), &folder).await, "b deep/c in-file out-folder/y");
    }

    #[tokio::test]
    async fn what_lies_outside_is_told_from_what_is_gone() {
        let home = linked();
        for (name, is_outside) in [
            ("in/a", false),
            ("in/in-folder/c", false),
            ("in/out-folder/back/c", false),
            ("in/gone", false),
            ("in/dangling", false),
            ("in/out-file", true),
            ("in/sub/out-folder/y", true),
        ] {
            let files = vec![key(&home, "in/sub/b"), key(&home, name)];
            let found = first_outside(&key(&home, "in"), files).await.unwrap();
            assert_eq!(found, is_outside.then(|| key(&home, name)), "{name}");
        }
    }

    #[tokio::test]
    async fn long_listings_are_whole() {
        let (home, disk) = (tempfile::tempdir().unwrap(), LocalDisk::new(false));
        let (first, second) = (home.path().join("a"), home.path().join("b"));
        for folder in [&first, &second] {
            std::fs::create_dir(folder).unwrap();
            for number in 0..FILES_AT_A_TIME {
                std::fs::write(folder.join(number.to_string()), "").unwrap();
            }
        }
        symlink(&second, first.join("link")).unwrap();
        let folder = Path::from_absolute_path(home.path()).unwrap();
        let count = |files: BoxStream<'static, Result<ObjectMeta>>| files.try_collect::<Vec<_>>();
        assert_eq!(count(disk.list(Some(&folder))).await.unwrap().len(), 3 * FILES_AT_A_TIME);
        assert_eq!(count(disk.list(Some(&key(&home, "a")))).await.unwrap().len(), FILES_AT_A_TIME);
    }
}
