//! Setting a server up.

use std::fmt;
use std::sync::Arc;

use mlp_core::{Clock, PredictionLog, Router, Servable, SystemClock, VersionNumber, VersionSource};

use crate::cache::{self, PredictionCache};
use crate::error::ServeError;
use crate::options::ServeOptions;
use crate::prepare::WarmUp;
use crate::server::Server;
use crate::shared::Shared;
use crate::time::Time;

/// Makes the cache of a version.
pub(crate) type MakeCache<O> =
    Box<dyn Fn(&ServeOptions) -> Option<Box<dyn PredictionCache<O>>> + Send + Sync>;

/// What a server is made of: options, and what it talks to.
pub struct ServerBuilder<M: ?Sized + Servable + 'static> {
    pub(crate) options: ServeOptions,
    pub(crate) time: Time,
    pub(crate) log: Option<Arc<dyn PredictionLog>>,
    pub(crate) router: Option<Arc<dyn Router>>,
    pub(crate) warm_up: WarmUp<M::Input>,
    pub(crate) cache: MakeCache<M::Output>,
}

impl<M: ?Sized + Servable + 'static> ServerBuilder<M> {
    pub(crate) fn new() -> Self {
        Self {
            options: ServeOptions::default(),
            time: Time::System(SystemClock::new()),
            log: None,
            router: None,
            warm_up: WarmUp::none(),
            cache: Box::new(cache::of),
        }
    }

    /// Sets the options.
    #[must_use]
    pub fn with_options(mut self, options: ServeOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the clock of deadlines, delays and latencies. A waiting thread looks at it every millisecond.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.time = Time::Given(clock);
        self
    }

    /// Sets who hears every prediction.
    #[must_use]
    pub fn with_log(mut self, log: Arc<dyn PredictionLog>) -> Self {
        self.log = Some(log);
        self
    }

    /// Sets the inputs on which each replica is run before it serves: it must answer all of them, bit by bit as its sisters do; so must one that is built
    /// anew later. A replica that keeps failing is checked on them, so that bad inputs are not taken for a bad replica. They are shared by
    /// threads.
    #[must_use]
    pub fn with_warm_up(mut self, inputs: impl IntoIterator<Item = M::Input>) -> Self
    where
        M::Input: Sync,
    {
        self.warm_up = WarmUp::new(inputs.into_iter().collect());
        self
    }

    /// Sets what remembers answers, instead of the caches that the options name: called once a version, since each has a cache of its own.
    /// Keys say nothing of a version: `make` must not give two of them what shares its answers, or one would answer for the other.
    #[must_use]
    pub fn with_cache<C: PredictionCache<M::Output> + 'static>(
        mut self,
        make: impl Fn() -> C + Send + Sync + 'static,
    ) -> Self {
        self.cache = Box::new(move |_| Some(Box::new(make())));
        self
    }

    /// Starts a server of one version.
    ///
    /// # Errors
    /// If an option is out of range, or the version cannot be built or fails its warm-up.
    pub fn fixed(
        self,
        version: VersionNumber,
        source: VersionSource<M>,
    ) -> Result<Server<M>, ServeError> {
        let server = self.start()?;
        server.swap(version, source)?;
        Ok(server)
    }

    /// Starts a server without a version, whose router chooses one for each request.
    ///
    /// # Errors
    /// If an option is out of range.
    pub fn routed(mut self, router: Arc<dyn Router>) -> Result<Server<M>, ServeError> {
        self.router = Some(router);
        self.start()
    }

    fn start(self) -> Result<Server<M>, ServeError> {
        self.options.check()?;
        Ok(Server { shared: Arc::new(Shared::new(self)) })
    }
}

impl<M: ?Sized + Servable + 'static> fmt::Debug for ServerBuilder<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
