//! Waiting without losing sight of the client: every await of a connection goes through a [`Link`].
//!
//! While a statement runs, the link writes what is due, reads ahead (bounded), and notices that the client went away or that
//! the connection is to end. Both drop the future that was waited for, and with it the statement.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::channel::{Channel, Transport};
use super::frontend::Frame;
use crate::error::{Error, SqlState};

/// Rows that wait for others to follow are sent after this time.
const OUTPUT_DELAY: Duration = Duration::from_millis(4);
/// Work that never waits gives way to other tasks after this time.
const TURN: Duration = Duration::from_millis(1);
/// How long the last message of a connection may take to leave.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Why a connection ends.
#[derive(Debug)]
pub enum Stop {
    /// The client is gone: nothing can be said. The error is `None` when it left in order.
    Gone(Option<io::Error>),
    /// The client is told this FATAL error.
    Fatal(Error),
}

/// Why a step of a statement did not end well.
#[derive(Debug)]
pub enum Fault {
    /// The client gets an ErrorResponse, and the connection goes on.
    Statement(Error),
    Stop(Stop),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Statement(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Gone(Some(error))
    }
}

/// How the server asks its connections to end.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Idle connections end now, busy ones after their statement.
    pub draining: CancellationToken,
    /// Busy ones end now as well.
    pub ending: CancellationToken,
}

/// 57P01, as PostgreSQL words it.
pub fn administrator_command() -> Error {
    Error::new(SqlState::AdminShutdown, "terminating connection due to administrator command").fatal()
}

struct Interrupts {
    termination: Pin<Box<dyn Future<Output = Error> + Send>>,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Interrupts {
    fn poll_busy(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if let Poll::Ready(error) = self.termination.as_mut().poll(cx) {
            // It must not be polled again; the connection ends anyway.
            self.termination = Box::pin(std::future::pending());
            return Poll::Ready(Stop::Fatal(error.fatal()));
        }
        self.ending.as_mut().poll(cx).map(|()| Stop::Fatal(administrator_command()))
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if self.draining.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Stop::Fatal(administrator_command()));
        }
        self.poll_busy(cx)
    }
}

/// The time that a task has worked without waiting.
pub struct Turn(Instant);

impl Default for Turn {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// A client's channel together with what may interrupt it.
pub struct Link<S> {
    pub channel: Channel<S>,
    interrupts: Interrupts,
}

impl<S: Transport> Link<S> {
    pub fn new(channel: Channel<S>, shutdown: &Shutdown) -> Self {
        let interrupts = Interrupts {
            termination: Box::pin(std::future::pending()),
            draining: Box::pin(shutdown.draining.clone().cancelled_owned()),
            ending: Box::pin(shutdown.ending.clone().cancelled_owned()),
        };
        Self { channel, interrupts }
    }

    /// From now on this ends the connection too.
    pub fn terminate_on(&mut self, termination: impl Future<Output = Error> + Send + 'static) {
        self.interrupts.termination = Box::pin(termination);
    }

    /// Waits for the future while the client is watched. Output that has gathered is sent when the future takes longer than
    /// a few milliseconds. When it fails, the future was dropped.
    pub async fn during<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Stop> {
        let mut future = pin!(future);
        let mut due: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            if let Poll::Ready(stop) = self.poll_watch(cx) {
                return Poll::Ready(Err(stop));
            }
            if !self.channel.output.is_empty() {
                let timer = due.get_or_insert_with(|| Box::pin(sleep(OUTPUT_DELAY)));
                if timer.as_mut().poll(cx).is_ready() {
                    return self.poll_drain(cx);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Sends all output; never ready otherwise than with a reason to stop.
    fn poll_drain<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Stop>> {
        match self.channel.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Writes, reads ahead and looks for interrupts. Ready when the connection must end.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        if let Poll::Ready(Err(error)) = self.channel.poll_write(cx) {
            return Poll::Ready(error.into());
        }
        if let Poll::Ready(read) = self.channel.poll_read_ahead(cx) {
            return Poll::Ready(Stop::Gone(read.err()));
        }
        self.interrupts.poll_busy(cx)
    }

    /// Looks up and lets other tasks run, for work that never waits, once its turn is over.
    pub async fn give_way(&mut self, turn: &mut Turn) -> Result<(), Stop> {
        if turn.0.elapsed() < TURN {
            return Ok(());
        }
        if let Poll::Ready(stop) = poll_fn(|cx| Poll::Ready(self.poll_watch(cx))).await {
            return Err(stop);
        }
        tokio::task::yield_now().await;
        *turn = Turn::default();
        Ok(())
    }

    /// Hands the gathered output over and goes on while it is written; waits only for the buffer before it.
    pub async fn pass_on(&mut self) -> Result<(), Stop> {
        poll_fn(|cx| {
            // A statement that never waits still looks up here.
            if let Poll::Ready(stop) = self.poll_watch(cx) {
                return Poll::Ready(Err(stop));
            }
            while self.channel.is_writing() {
                match self.channel.poll_write(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                    Poll::Pending => return self.poll_watch(cx).map(Err),
                }
            }
            self.channel.start_writing();
            match self.channel.poll_write(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
            }
        })
        .await
    }

    /// Sends all output. A client that ended its side while we write still gets it, as long as it takes it.
    pub async fn flush(&mut self) -> Result<(), Stop> {
        poll_fn(|cx| {
            if let Poll::Ready(written) = self.channel.poll_drain(cx) {
                return Poll::Ready(written.map_err(Stop::from));
            }
            if let Poll::Ready(Err(error)) = self.channel.poll_read_ahead(cx) {
                return Poll::Ready(Err(error.into()));
            }
            self.interrupts.poll_busy(cx).map(Err)
        })
        .await
    }

    /// The next message, for a connection that has nothing to do. `idle`: until when that may last, and the error then.
    pub async fn next_frame(&mut self, bytes_max: usize, idle: Option<(Instant, Error)>) -> Result<Frame, Stop> {
        if let Some(frame) = self.channel.take_frame(bytes_max).map_err(Stop::Fatal)? {
            return self.unless_interrupted(frame).await;
        }
        self.gone_if_ended()?;
        self.channel.rest();
        loop {
            match &idle {
                None => self.read_idle().await?,
                Some((deadline, error)) => tokio::time::timeout_at(*deadline, self.read_idle())
                    .await
                    .map_err(|_| Stop::Fatal(error.clone().fatal()))??,
            }
            if let Some(frame) = self.channel.take_frame(bytes_max).map_err(Stop::Fatal)? {
                return Ok(frame);
            }
            self.gone_if_ended()?;
        }
    }

    /// The next message of this type while nothing runs that the client could abandon: authentication's.
    pub async fn next_frame_of(&mut self, tag: u8, bytes_max: usize) -> Result<Frame, Stop> {
        loop {
            if let Some(frame) = self.channel.take_frame_of(tag, bytes_max).map_err(Stop::Fatal)? {
                return Ok(frame);
            }
            self.gone_if_ended()?;
            self.read_idle().await?;
        }
    }

    /// Reads more of a COPY's data: busy, so that a draining server lets it end.
    pub async fn read_busy(&mut self) -> Result<(), Stop> {
        self.gone_if_ended()?;
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.channel.poll_read(cx) {
                return Poll::Ready(read.map_err(Stop::from));
            }
            if let Poll::Ready(Err(error)) = self.channel.poll_drain(cx) {
                return Poll::Ready(Err(error.into()));
            }
            self.interrupts.poll_busy(cx).map(Err)
        })
        .await
    }

    /// A client that sends one message after the other never idles: it is interrupted between them.
    async fn unless_interrupted<T>(&mut self, value: T) -> Result<T, Stop> {
        match poll_fn(|cx| Poll::Ready(self.interrupts.poll_busy(cx))).await {
            Poll::Ready(stop) => Err(stop),
            Poll::Pending => Ok(value),
        }
    }

    async fn read_idle(&mut self) -> Result<(), Stop> {
        poll_fn(|cx| {
            if let Poll::Ready(stop) = self.interrupts.poll_idle(cx) {
                return Poll::Ready(Err(stop));
            }
            self.channel.poll_read(cx).map_err(Stop::from)
        })
        .await
    }

    fn gone_if_ended(&self) -> Result<(), Stop> {
        if self.channel.ended() { Err(Stop::Gone(None)) } else { Ok(()) }
    }

    /// Sends what is left and closes, within a limit: a client that does not read is not waited for.
    pub async fn close(&mut self) {
        let goodbye = async {
            poll_fn(|cx| self.channel.poll_drain(cx)).await?;
            self.channel.close().await
        };
        // A client that is gone or does not read cannot be told more.
        let _ = tokio::time::timeout(CLOSE_LIMIT, goodbye).await;
    }
}
