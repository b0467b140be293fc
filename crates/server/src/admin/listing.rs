//! The items of a page, limited by their encoded size.

use key_authority_storage::page::Page;
use prost::Message;
use prost::encoding::encoded_len_varint;

/// Maximum encoded size of the items of a page, in bytes: 3.5 MiB. Common clients accept responses of up to 4 MiB.
const PAGE_BYTES_MAX: usize = 7 * 512 * 1024;

/// Encodes the items of a page as messages, as many as fit in [`PAGE_BYTES_MAX`] and at least one. Returns them with
/// the cursor of the next page: `after` an item, if items are left over.
pub(super) fn messages<T, C, M: Message>(
    page: Page<T, C>,
    to_proto: impl Fn(&T) -> M,
    after: impl Fn(&T) -> C,
) -> (Vec<M>, Option<C>) {
    let mut messages = Vec::with_capacity(page.items.len());
    let mut bytes = 0;
    let mut last = None;
    for item in &page.items {
        let message = to_proto(item);
        let len = message.encoded_len();
        // The tag of the field takes one byte.
        bytes += 1 + encoded_len_varint(len as u64) + len;
        if let Some(last) = last.filter(|_| bytes > PAGE_BYTES_MAX) {
            return (messages, Some(after(last)));
        }
        messages.push(message);
        last = Some(item);
    }
    (messages, page.next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use key_authority_proto::v1;

    /// Keys of these sizes, named by their number.
    fn page(sizes: &[usize], next: Option<usize>) -> Page<(usize, usize), usize> {
        Page { items: sizes.iter().copied().enumerate().collect(), next }
    }

    fn cut(page: Page<(usize, usize), usize>) -> (Vec<usize>, Option<usize>, usize) {
        let key = |(_, size): &(usize, usize)| v1::Key { description: "x".repeat(*size), ..v1::Key::default() };
        let (keys, next) = messages(page, key, |(number, _)| *number);
        let sizes = keys.iter().map(|key| key.description.len()).collect();
        (sizes, next, v1::ListKeysResponse { keys, next_page_token: String::new() }.encoded_len())
    }

    #[test]
    fn a_page_ends_before_its_limit_in_bytes_and_continues_after_its_last_item() {
        let mib = 1024 * 1024;
        let (sizes, next, encoded) = cut(page(&[mib, mib, mib, mib, 1], None));
        assert_eq!((sizes, next), (vec![mib; 3], Some(2)));
        assert!(encoded <= PAGE_BYTES_MAX);
        // What a message takes beyond its text is counted as well.
        let half = PAGE_BYTES_MAX / 2;
        assert_eq!(cut(page(&[half, half], None)).1, Some(0));
        let (sizes, next, encoded) = cut(page(&[half - 8, half - 8], None));
        assert_eq!((sizes.len(), next, encoded), (2, None, PAGE_BYTES_MAX));
    }

    #[test]
    fn an_item_over_the_limit_is_returned_alone() {
        let large = PAGE_BYTES_MAX + 1;
        assert_eq!(cut(page(&[large, 1, large], None)).1, Some(0));
        assert_eq!(cut(page(&[1, large], None)).1, Some(0));
        let (sizes, next, _) = cut(page(&[large], Some(7)));
        assert_eq!((sizes, next), (vec![large], Some(7)));
    }

    #[test]
    fn a_page_that_fits_keeps_its_cursor() {
        assert_eq!(cut(page(&[1, 2, 3], Some(7))).1, Some(7));
        assert_eq!(cut(page(&[], None)).1, None);
    }
}
