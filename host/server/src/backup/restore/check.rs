//! Checking: the processes run again, the hook makes the data this environment's own, and what is found must be what was
//! copied.

use jecloud_model::app::Failure;
use jecloud_model::backup::{Restore, differences};

use super::super::scratch::Scratch;
use super::super::service::{Kept, Serving, context, driven};
use crate::error::ServerError;
use crate::work::{Work, start};

pub(super) fn perform(work: &Work<'_>, restore: &Restore) -> Result<(), ServerError> {
    let serving = Serving::read(work.place, work.number)?;
    let asked = super::asked(work, &serving, restore)?;
    start::awaited(work, |spec| spec.service == restore.service && spec.id.release.is_none())?;
    let kept = || Kept::In(work.place.root.restore_steps());
    let shown = context(&asked, work, &serving, Some(&restore.manifest.contents.version));
    let function = ("restored", kept());
    let found = driven(&asked, work, &serving, &shown, function, |asked, context, results, ports| {
        asked.restored(context, results, ports)
    })?;
    if asked.exports().setup {
        let shown = context(&asked, work, &serving, None);
        driven(&asked, work, &serving, &shown, ("started", kept()), |asked, context, results, ports| {
            asked.started(context, results, ports)
        })?;
    }
    let copied = &restore.manifest.contents;
    let mut differ = differences(copied, &found);
    if Scratch::of(work.place)?.is_some_and(|scratch| scratch.is_same_version) && copied.version != found.version {
        differ.push(format!("it is the data of version {}, and was copied from {}", found.version, copied.version));
    }
    if differ.is_empty() {
        return Ok(());
    }
    Err(Failure::because(format!("what was brought back is not what was copied from {}", restore.service))
        .details(differ)
        .hint("Take another backup.")
        .into())
}
