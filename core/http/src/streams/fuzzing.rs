//! Doors for fuzzing to what is read here and not by a library; only there when `cfg(fuzzing)` is.

use tokio::io::join;

use super::spdy;

/// Says something to the server of SPDY, which takes every stream and sends back what comes.
pub async fn speak_spdy(said: &[u8]) {
    let transport = join(said, tokio::io::sink());
    // What is wrong with the bytes is an error, and that is fine.
    let _ = spdy::serve(transport, |mut streams| async move {
        while let Some(mut stream) = streams.recv().await {
            tokio::spawn(async move {
                while let Some(data) = stream.incoming.recv().await {
                    stream.outgoing.send(&data, false).await;
                }
                stream.outgoing.send(b"", true).await;
            });
        }
    })
    .await;
}
