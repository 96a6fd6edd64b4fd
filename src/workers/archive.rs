//! One file out of a ZIP archive, as GitHub packs artifacts (APPNOTE.TXT 6.3.10).
//!
//! Read from the central directory, which alone counts: what else an archive holds is never looked at.
//! Archives that are encrypted, split or larger than 4 GiB are refused.

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed<'a> {
    /// Its bytes as they are packed.
    pub bytes: &'a [u8],
    /// Its length unpacked.
    pub length: usize,
    /// Whether it is deflated (RFC 1951); it is stored as it is otherwise.
    pub is_deflated: bool,
}

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";
/// Bytes of the end of an archive, its comment aside, and of that at the most.
const END_BYTES: usize = 22;
const MAX_COMMENT: usize = 65_535;
/// Files of an archive at the most.
const MAX_FILES: u16 = 1_000;

fn at<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], from: usize) -> Option<u16> {
    at(bytes, from).map(u16::from_le_bytes)
}

fn length_at(bytes: &[u8], from: usize) -> Option<usize> {
    let length = at(bytes, from).map(u32::from_le_bytes)?;
    usize::try_from(length).ok()
}

/// The only file of an archive.
///
/// # Errors
/// One sentence: what it is instead.
pub fn only_file(archive: &[u8]) -> Result<Packed<'_>, String> {
    let files = files(archive).ok_or("The artifact is no ZIP archive that can be read.")?;
    match files.as_slice() {
        [file] => file.clone().ok_or_else(|| {
            "The file in the artifact is packed in a way that is not read.".to_owned()
        }),
        files => Err(format!(
            "The artifact holds {} files: it must hold one, the bundle.",
            files.len()
        )),
    }
}

/// The files of an archive; nothing in the place of one that is packed in another way.
fn files(archive: &[u8]) -> Option<Vec<Option<Packed<'_>>>> {
    let first = archive.len().saturating_sub(END_BYTES + MAX_COMMENT);
    let last = archive.len().checked_sub(END_BYTES)?;
    let end = (first..=last).rev().find(|from| {
        let tail = archive.get(*from..).unwrap_or_default();
        let comment = u16_at(tail, 20).map(usize::from);
        tail.starts_with(END) && comment == tail.len().checked_sub(END_BYTES)
    })?;
    let end = archive.get(end..)?;
    let (disk, count) = (u16_at(end, 4)?, u16_at(end, 10)?);
    if disk != 0 || count > MAX_FILES {
        return None;
    }
    let mut from = length_at(end, 16)?;
    let mut found = Vec::new();
    for _ in 0..count {
        let entry = archive
            .get(from..)
            .filter(|entry| entry.starts_with(ENTRY))?;
        let lengths = [28, 30, 32].map(|from| u16_at(entry, from).map(usize::from));
        let [name, extra, comment] = lengths;
        let name_bytes = entry.get(46..46 + name?)?;
        if !name_bytes.ends_with(b"/") {
            found.push(file(archive, entry));
        }
        from = from.checked_add(46 + name? + extra? + comment?)?;
    }
    Some(found)
}

fn file<'a>(archive: &'a [u8], entry: &[u8]) -> Option<Packed<'a>> {
    let (flags, method) = (u16_at(entry, 8)?, u16_at(entry, 10)?);
    let (packed, length) = (length_at(entry, 20)?, length_at(entry, 24)?);
    let local = archive.get(length_at(entry, 42)?..)?;
    let is_encrypted = flags & 1 != 0;
    if is_encrypted || !matches!(method, 0 | 8) || !local.starts_with(LOCAL) {
        return None;
    }
    let from = 30 + usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
    let bytes = local.get(from..from.checked_add(packed)?)?;
    let is_deflated = method == 8;
    (is_deflated || packed == length).then_some(Packed {
        bytes,
        length,
        is_deflated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of stored files.
    fn archive(files: &[(&str, &[u8])], comment: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut directory = Vec::new();
        for (name, content) in files {
            let from = u32::try_from(bytes.len()).unwrap();
            let length = u32::try_from(content.len()).unwrap().to_le_bytes();
            let name_length = u16::try_from(name.len()).unwrap().to_le_bytes();
            bytes.extend(LOCAL);
            bytes.extend([0; 22]);
            bytes.extend(name_length);
            bytes.extend([0; 2]);
            bytes.extend(name.as_bytes());
            bytes.extend(*content);
            directory.extend(ENTRY);
            directory.extend([0; 16]);
            directory.extend(length);
            directory.extend(length);
            directory.extend(name_length);
            directory.extend([0; 12]);
            directory.extend(from.to_le_bytes());
            directory.extend(name.as_bytes());
        }
        let from = u32::try_from(bytes.len()).unwrap();
        let count = u16::try_from(files.len()).unwrap().to_le_bytes();
        bytes.extend(&directory);
        bytes.extend(END);
        bytes.extend([0; 4]);
        bytes.extend(count);
        bytes.extend(count);
        bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
        bytes.extend(from.to_le_bytes());
        bytes.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
        bytes.extend(comment);
        bytes
    }

    #[test]
    fn the_only_file_is_found_whatever_stands_around_it() {
        for comment in [&b""[..], b"PK\x05\x06 is how an end begins"] {
            let archive = archive(
                &[("dist/", b""), ("dist/worker.bundle", b"content")],
                comment,
            );
            let file = only_file(&archive).unwrap();
            assert_eq!(
                (file.bytes, file.length, file.is_deflated),
                (&b"content"[..], 7, false)
            );
        }
    }

    #[test]
    fn everything_else_is_refused_with_a_reason() {
        let two = archive(&[("a", b"1"), ("b", b"2")], b"");
        assert!(only_file(&two).unwrap_err().contains("holds 2 files"));
        assert!(
            only_file(&archive(&[], b""))
                .unwrap_err()
                .contains("holds 0 files")
        );
        assert!(only_file(b"").unwrap_err().contains("no ZIP"));
        let whole = archive(&[("a", b"1234567890")], b"");
        for length in 0..whole.len() {
            assert!(only_file(&whole[..length]).is_err(), "{length}");
        }
        // Each byte of it changed: read or refused, never out of bounds.
        for index in 0..whole.len() {
            for value in [0, 1, 8, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[index] = value;
                let _ = only_file(&changed);
            }
        }
        let mut encrypted = whole;
        let entry = encrypted.windows(4).position(|four| four == ENTRY).unwrap();
        encrypted[entry + 8] = 1;
        assert!(only_file(&encrypted).unwrap_err().contains("not read"));
    }
}
