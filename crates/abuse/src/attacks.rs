//! The attacks, one file each. To add one, write its file with a constant, and add the constant to [`ALL`].

mod announced;
mod check_hostile;
mod continuation;
mod data_floods;
mod door_bombs;
mod door_forms;
mod door_guesses;
mod door_unread;
mod endless;
mod finished_watches;
mod frame_floods;
mod header_bombs;
mod import_streams;
mod large_keys;
mod log_injection;
mod mix;
mod operations_port;
mod oversized;
mod page_tokens;
mod reflection;
mod regex_bombs;
mod resets;
mod slow_connections;
mod tls_stopped;
mod unfinished_watches;
mod unread_answers;
mod unread_log;

use crate::attack::Attack;

/// All attacks, in the order in which they run.
pub(crate) const ALL: &[&Attack] = &[
    &reflection::ATTACK,
    &unfinished_watches::ATTACK,
    &finished_watches::ATTACK,
    &operations_port::HALF_REQUESTS,
    &operations_port::SILENT,
    &unread_log::ATTACK,
    &import_streams::ATTACK,
    &large_keys::ATTACK,
    &unread_answers::BATCH_WINDOW_0,
    &unread_answers::BATCH_WINDOW_1,
    &unread_answers::STREAM_WINDOW_0,
    &unread_answers::STREAM_WINDOW_1,
    &unread_answers::LIST_WINDOW_0,
    &unread_answers::LIST_WINDOW_1,
    &unread_answers::IMPORT_WINDOW_0,
    &unread_answers::IMPORT_WINDOW_1,
    &resets::RAPID,
    &resets::BY_THE_SERVER,
    &continuation::ATTACK,
    &header_bombs::HPACK,
    &header_bombs::MANY,
    &header_bombs::HUGE,
    &frame_floods::SETTINGS,
    &frame_floods::PING,
    &frame_floods::WINDOW_UPDATE,
    &frame_floods::PRIORITY,
    &data_floods::EMPTY,
    &data_floods::TINY,
    &slow_connections::IDLE_GRPC,
    &slow_connections::IDLE_GRPC_SPREAD,
    &slow_connections::SLOW_GRPC,
    &slow_connections::SLOW_FRAMES,
    &slow_connections::SLOW_FRAMES_SPREAD,
    &slow_connections::IDLE_OPERATIONS,
    &slow_connections::IDLE_OPERATIONS_SPREAD,
    &slow_connections::SLOW_OPERATIONS,
    &slow_connections::SLOW_OPERATIONS_SPREAD,
    &slow_connections::IDLE_DOOR,
    &slow_connections::SLOW_DOOR,
    &slow_connections::SLOW_DOOR_SPREAD,
    &slow_connections::KEPT_DOOR,
    &door_forms::HTTP1,
    &door_forms::HTTP1_SPREAD,
    &door_forms::STREAMS,
    &door_unread::HTTP1,
    &door_unread::STRANGERS,
    &door_unread::BODIES,
    &door_unread::PAGES_0,
    &door_unread::PAGES_1,
    &door_bombs::ATTACK,
    &door_guesses::ATTACK,
    &tls_stopped::ATTACK,
    &announced::ATTACK,
    &oversized::ATTACK,
    &endless::MESSAGE,
    &endless::STREAM,
    &check_hostile::ATTACK,
    &page_tokens::ATTACK,
    &regex_bombs::ATTACK,
    &log_injection::TEXT,
    &log_injection::JSON,
    &mix::ATTACK,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let mut names: Vec<_> = ALL.iter().map(|attack| attack.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
