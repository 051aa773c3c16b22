//! The documents of backups and of bringing one back, read and written.

use std::collections::BTreeMap;

use jecloud_disk::{durable, tree};
use jecloud_model::app::Failure;
use jecloud_model::backup::{Restore, ServerBackup};
use jecloud_model::ids::BackupId;
use jecloud_seal::Key;
use zeroize::Zeroizing;

use crate::error::ServerError;
use crate::place::Place;

impl Place {
    /// All backups that are wanted, were made, or failed. One whose document cannot be read is left out: it is nobody's
    /// wish.
    pub(crate) fn backups(&self) -> Result<BTreeMap<BackupId, ServerBackup>, ServerError> {
        let mut backups = BTreeMap::new();
        for name in tree::list(&self.root.backups())? {
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<BackupId>().ok()) else {
                continue;
            };
            if let Ok(Some(backup)) = durable::read_json(&self.root.backup_document(&id)) {
                backups.insert(id, backup);
            }
        }
        Ok(backups)
    }

    /// One backup; none where there is no such.
    pub(crate) fn backup(&self, id: &BackupId) -> Result<Option<ServerBackup>, ServerError> {
        Ok(durable::read_json(&self.root.backup_document(id))?)
    }

    /// Records a backup. The caller holds [`Place::lock`].
    pub(crate) fn write_backup(&self, backup: &ServerBackup) -> Result<(), ServerError> {
        durable::create_dirs(&self.root.backups(), 0o700)?;
        Ok(durable::write_json(&self.root.backup_document(&backup.id), backup, 0o600)?)
    }

    /// Changes what is recorded of a backup. One that was forgotten meanwhile stays so.
    pub(crate) fn change_backup(
        &self,
        id: &BackupId,
        change: impl FnOnce(&mut ServerBackup),
    ) -> Result<(), ServerError> {
        let _lock = self.lock()?;
        let Some(mut backup) = self.backup(id)? else { return Ok(()) };
        let before = backup.clone();
        change(&mut backup);
        if backup == before { Ok(()) } else { self.write_backup(&backup) }
    }

    /// The backup that is brought back, or the last one that was. Who cannot read it does nothing here: data may be half
    /// replaced.
    pub(crate) fn restore(&self) -> Result<Option<Restore>, ServerError> {
        Ok(durable::read_json(&self.root.restore_document())?)
    }

    /// Records it. The caller holds [`Place::lock`].
    pub(crate) fn write_restore(&self, restore: &Restore) -> Result<(), ServerError> {
        durable::create_dirs(&self.root.backups(), 0o700)?;
        Ok(durable::write_json(&self.root.restore_document(), restore, 0o600)?)
    }

    /// Changes what is recorded of it.
    pub(crate) fn change_restore(&self, change: impl FnOnce(&mut Restore)) -> Result<(), ServerError> {
        let _lock = self.lock()?;
        let Some(mut restore) = self.restore()? else { return Ok(()) };
        let before = restore.clone();
        change(&mut restore);
        if restore == before { Ok(()) } else { self.write_restore(&restore) }
    }

    /// What backups are sealed with; none where nobody has put one here.
    ///
    /// # Errors
    ///
    /// A [`Failure`] where what is there is no key. It does not say what is there.
    pub(crate) fn backup_key(&self) -> Result<Option<Key>, ServerError> {
        let Some(text) = durable::read_text(&self.root.backup_key())?.map(Zeroizing::new) else { return Ok(None) };
        let key = text.parse::<Key>().map_err(|_| {
            Failure::because("what lies on the server as the key of backups is none")
                .hint("Ask for the backup again from where the app is deployed: that brings the key.")
        })?;
        Ok(Some(key))
    }
}
