//! From an object store's failure to an error that tells what the store answered.

use object_store::Error as StoreError;

use super::{Error, SqlState, is_disk_full};

/// The store's own code and message, from the XML that S3, Azure and GCS answer with.
#[derive(Debug, PartialEq, Eq)]
struct Answer<'a> {
    code: &'a str,
    message: &'a str,
}

impl<'a> Answer<'a> {
    fn find(text: &'a str) -> Option<Self> {
        let code = element(text, "Code")?;
        Some(Self { code, message: first_line(element(text, "Message").unwrap_or_default()) })
    }

    fn says_no_bucket(&self) -> bool {
        matches!(self.code, "NoSuchBucket" | "ContainerNotFound")
    }

    fn shown(&self) -> String {
        match self.message {
            "" => format!("The object store answered {}.", self.code),
            message => format!("The object store answered {}: {message}", self.code),
        }
    }
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
}

/// The error without its source, for failures that several readers share.
///
/// 58P01 for what is not there, 42501 for what the store denies, 53100 for a full disk, 58030 for the rest.
pub(super) fn told(error: &StoreError) -> Error {
    let text = error.to_string();
    if is_disk_full(error) {
        return Error::new(SqlState::DiskFull, "no space left on the device").with_detail(first_line(&text));
    }
    let answer = Answer::find(&text);
    if answer.as_ref().is_some_and(Answer::says_no_bucket) {
        let error = Error::new(SqlState::UndefinedFile, "the bucket or container does not exist");
        return with_answer(error, answer.as_ref());
    }
    match error {
        StoreError::NotFound { path, .. } => {
            Error::new(SqlState::UndefinedFile, format!("could not open file \"{path}\": no such file or directory"))
        }
        StoreError::PermissionDenied { path, .. } | StoreError::Unauthenticated { path, .. } => {
            let message = format!("permission denied by the object store for \"{path}\"");
            let hint = "Check the credentials under warehouse.storage and in the environment.";
            with_answer(Error::new(SqlState::InsufficientPrivilege, message).with_hint(hint), answer.as_ref())
        }
        StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => {
            Error::new(SqlState::FeatureNotSupported, first_line(&text))
        }
        _ if text.contains("HTTP error:") => Error::new(SqlState::IoError, "could not reach the object store")
            .with_detail(format!("{} ({})", first_line(&text), root(error))),
        _ => with_answer(Error::new(SqlState::IoError, without_document(&text)), answer.as_ref()),
    }
}

fn with_answer(error: Error, answer: Option<&Answer<'_>>) -> Error {
    match answer {
        Some(answer) => error.with_detail(answer.shown()),
        None => error,
    }
}

/// The first line, without the beginning of an XML document that the store answered with.
fn without_document(text: &str) -> &str {
    let line = first_line(text);
    line.split_once("<?xml").map_or(line, |(before, _)| before.trim_end_matches([' ', ':']))
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What the chain of errors ends with, e.g. "Connection refused".
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    first_line(&last.to_string()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: text.into() }
    }

    fn denied(text: &str) -> StoreError {
        StoreError::PermissionDenied { path: "a/b".to_owned(), source: text.into() }
    }

    const XML: &str = "Server returned non-2xx status code: 404 Not Found: <?xml version=\"1.0\"?>\n<Error>\n  \
        <Code>NoSuchBucket</Code>\n  <Message>The specified bucket does not exist</Message></Error>";

    #[test]
    fn a_missing_bucket_is_told_from_a_missing_file() {
        let file = StoreError::NotFound { path: "a/b".to_owned(), source: "404".into() };
        assert_eq!(told(&file).message(), "could not open file \"a/b\": no such file or directory");
        for error in [generic(XML), StoreError::NotFound { path: "a/b".to_owned(), source: XML.into() }] {
            let told = told(&error);
            assert_eq!(told.sqlstate(), SqlState::UndefinedFile);
            assert_eq!(told.message(), "the bucket or container does not exist");
            assert_eq!(
                told.detail(),
                Some("The object store answered NoSuchBucket: The specified bucket does not exist")
            );
        }
    }

    #[test]
    fn a_denial_shows_what_the_store_answered_and_what_to_check() {
        let told = told(&denied("403 Forbidden: <?xml?>\n<Error><Code>InvalidAccessKeyId</Code></Error>"));
        assert_eq!(told.sqlstate(), SqlState::InsufficientPrivilege);
        assert_eq!(told.message(), "permission denied by the object store for \"a/b\"");
        assert_eq!(told.detail(), Some("The object store answered InvalidAccessKeyId."));
        assert!(told.hint().is_some_and(|hint| hint.contains("credentials")));
    }

    #[test]
    fn other_failures_keep_their_first_line_without_markup() {
        let text = "500 Internal Server Error: <?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>";
        let error = told(&generic(text));
        assert_eq!(error.sqlstate(), SqlState::IoError);
        assert_eq!(error.message(), "Generic S3 error: 500 Internal Server Error");
        assert_eq!(error.detail(), Some("The object store answered InternalError."));
        let unreachable =
            told(&generic("Error performing PUT http://127.0.0.1:1/x - HTTP error: error sending request"));
        assert_eq!(unreachable.message(), "could not reach the object store");
    }
}
