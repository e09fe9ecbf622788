//! Sets of indexes in the form `1,3-5,7`, and the index of a pod.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

/// Where a pod carries its index, as annotation and as label.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// The index of a pod.
pub(super) fn index_of(pod: &Pod) -> Option<u32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

/// Reads a set, leaving out what is not below `completions` or makes no sense.
pub(super) fn parse(text: Option<&str>, completions: u32) -> BTreeSet<u32> {
    let mut set = BTreeSet::new();
    for item in text.unwrap_or_default().split(',') {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            set.extend((first..=last).take_while(|index| *index < completions));
        }
    }
    set
}

/// Writes a set; `None` if it is empty. Two in a row stand alone, three and more as a range.
pub(super) fn format(set: &BTreeSet<u32>) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut indexes = set.iter().copied().peekable();
    while let Some(first) = indexes.next() {
        let mut last = first;
        while indexes.next_if_eq(&(last + 1)).is_some() {
            last += 1;
        }
        match last - first {
            0 => parts.push(first.to_string()),
            1 => parts.push(format!("{first},{last}")),
            _ => parts.push(format!("{first}-{last}")),
        }
    }
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_come_back() {
        for text in ["0", "1,3-5,7", "0,1", "2,3,5-9"] {
            assert_eq!(format(&parse(Some(text), 10)).as_deref(), Some(text));
        }
        assert_eq!(format(&parse(Some("x,8-20"), 10)).as_deref(), Some("8,9"));
        assert_eq!(format(&BTreeSet::new()), None);
    }
}
