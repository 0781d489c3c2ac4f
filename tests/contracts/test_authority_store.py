"""Every store of authority sets that we have, under the one contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meshca.rotation.authority_set import AuthorityStore
from meshca.store import SqlAuthorityStore, open_store
from meshca.testing.authority_store import AuthorityStoreContract
from tests.fakes.authority_store import MemoryAuthorityStore


class TestSqlAuthorityStore(AuthorityStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[AuthorityStore]:
        store = open_store(f"sqlite:///{tmp_path}/meshca.db", create=True)
        yield SqlAuthorityStore(store)
        store.close()


class TestMemoryAuthorityStore(AuthorityStoreContract):
    @pytest.fixture
    def store(self) -> AuthorityStore:
        return MemoryAuthorityStore()
