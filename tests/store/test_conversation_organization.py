"""Pins, folders, settings, generated titles, copies and imports of conversations."""

import pytest

from turnwise.core.access import Principal
from turnwise.core.conversation_folders import NO_FOLDER
from turnwise.core.conversation_trees import ConversationTree, TreeMessage
from turnwise.core.data_subjects import DataSubject
from turnwise.core.errors import InvalidData, InvalidParameter, NotFound
from turnwise.core.messages import Message
from turnwise.core.stored_conversations import ConversationChanges
from turnwise.store import open_store

ADA, BOB = Principal("ada", "user"), Principal("bob", "user")


@pytest.fixture
def store():
    opened = open_store("sqlite:///:memory:")
    yield opened
    opened.close()


def titles(conversations):
    return [conversation.title for conversation in conversations]


def tree(*texts, **fields):
    roles = ["user", "assistant"] * len(texts)
    messages = [
        TreeMessage(str(i), str(i - 1) if i else None, Message(role, text))
        for i, (role, text) in enumerate(zip(roles, texts, strict=False))
    ]
    return ConversationTree(tuple(messages), **fields)


def test_a_pin_does_not_change_the_order_of_the_list(store):
    ids = [store.create(title=title, model="m").id for title in "abc"]
    store.update(ids[0], ConversationChanges(is_pinned=True))
    assert titles(store.list()) == ["c", "b", "a"]
    assert titles(store.list(is_pinned=True)) == ["a"]
    assert titles(store.list(is_pinned=False, limit=1, after=ids[2])) == ["b"]
    store.update(ids[0], ConversationChanges(is_pinned=False))
    assert store.list(is_pinned=True) == []


def test_a_conversation_is_in_one_folder_which_can_be_deleted_without_it(store):
    work, home = store.folders.create("Work"), store.folders.create("home")
    id = store.create(title="a", model="m", folder_id=work.id).id
    store.create(title="b", model="m")
    store.update(id, ConversationChanges(folder_id=home.id))
    assert [(folder.name, folder.num_conversations) for folder in store.folders.list()] == [("home", 1), ("Work", 0)]
    assert titles(store.list(folder_id=home.id)) == ["a"]
    assert titles(store.list(folder_id=NO_FOLDER)) == ["b"]
    assert store.folders.rename(home.id, "Garden").name == "Garden"
    store.folders.delete(home.id)
    assert store.get(id).folder_id is None
    assert titles(store.list(folder_id=NO_FOLDER)) == ["b", "a"]
    for act in (store.folders.delete, lambda folder: store.folders.rename(folder, "x")):
        with pytest.raises(NotFound):
            act(home.id)
    with pytest.raises(NotFound):
        store.update(id, ConversationChanges(title="lost", folder_id=home.id))
    assert store.get(id).title == "a", "a change is complete or nothing"


def test_folders_belong_to_their_key(store):
    ada, bob = store.for_principal(ADA), store.for_principal(BOB)
    folder, id = ada.folders.create("secret"), bob.create(title="b", model="m").id
    assert bob.folders.list() == []
    for act in (
        lambda: bob.folders.delete(folder.id),
        lambda: bob.folders.rename(folder.id, "x"),
        lambda: bob.list(folder_id=folder.id),
        lambda: bob.create(title="x", model="m", folder_id=folder.id),
        lambda: bob.update(id, ConversationChanges(folder_id=folder.id)),
    ):
        with pytest.raises(NotFound):
            act()
    with pytest.raises(InvalidParameter):
        store.update(id, ConversationChanges(folder_id=folder.id))  # an admin sees both
    with pytest.raises(InvalidParameter):
        store.create(title="x", model="m", folder_id=folder.id)
    assert titles(store.list()) == ["b"]


def test_ids_are_listed_at_once_or_checked(store):
    ids = [store.for_principal(ADA).create(title=title, model="m").id for title in "abc"]
    assert store.list_ids() == ids[::-1]
    assert store.list_ids([ids[1], ids[0], ids[1]]) == (ids[1], ids[0])
    assert store.for_principal(BOB).list_ids() == []
    with pytest.raises(NotFound):
        store.list_ids([ids[0], "conv_nowhere"])
    with pytest.raises(NotFound):
        store.for_principal(BOB).list_ids(ids)


def test_settings_are_replaced_as_a_whole(store):
    id = store.create(title="a", model="m", settings={"system": "Be brief."}).id
    assert store.get(id).settings == {"system": "Be brief."}
    store.update(id, ConversationChanges(settings={"parameters": {"top_k": 5}}))
    assert store.get(id).settings == {"parameters": {"top_k": 5}}
    assert store.list()[0].settings == {}, "a list of many conversations stays small"
    with pytest.raises(InvalidData):
        store.update(id, ConversationChanges(settings={"x": object()}))


def test_a_generated_title_replaces_first_words_only(store):
    id = store.create(title="How do I", model="m", title_source="first_words").id
    assert store.set_generated_title(id, "Cancelling an order")
    assert (store.get(id).title, store.get(id).title_source) == ("Cancelling an order", "model")
    assert not store.set_generated_title(id, "Another")
    own = store.create(title="My title", model="m").id
    assert not store.set_generated_title(own, "Generated")
    renamed = store.create(title="How", model="m", title_source="first_words").id
    store.update(renamed, ConversationChanges(title="Mine"))
    assert not store.set_generated_title(renamed, "Generated")
    assert titles(map(store.get, (own, renamed))) == ["My title", "Mine"]


def test_a_search_tells_which_message_has_the_text(store):
    id = store.create(title="Lamps", model="m").id
    _, second = store.append(
        id, [Message("user", "one"), Message("assistant", "long ago " * 30 + "the Needle was here")]
    )
    [found] = store.list(query="needle")
    assert found.match.message_id == second
    assert found.match.excerpt.startswith("…")
    assert "the Needle was here" in found.match.excerpt
    assert store.list(query="lamps")[0].match is None


def test_a_copy_has_the_branch_up_to_a_message(store):
    folder = store.folders.create("Work").id
    id = store.create(title="a", model="m", folder_id=folder, settings={"system": "x"}).id
    ids = store.append(id, [Message("user", "1"), Message("assistant", "2"), Message("user", "3")])
    store.append(id, [Message("assistant", "other")], parent_id=ids[0])
    copy = store.fork(id, ids[1], "b")
    copied = store.get(copy.id)
    assert [entry.message.content for entry in copied.tree] == ["1", "2"]
    assert (copied.title, copied.folder_id, copied.settings) == ("b", folder, {"system": "x"})
    assert copied.head == copied.messages[-1].id not in ids
    assert len(store.get(id).tree) == 4
    with pytest.raises(NotFound):
        store.fork(id, "msg_nowhere", "c")


def test_an_import_adds_branches_folders_and_settings_once(store):
    branched = ConversationTree(
        (
            TreeMessage("a", None, Message("user", "Hello"), 5.0),
            TreeMessage("b", "a", Message("assistant", "Hi"), meta={"model": "old"}),
            TreeMessage("c", "a", Message("assistant", "Good day")),
        ),
        head="b", title="Greeting", created=5.0, updated=9.0, folder="Old", is_pinned=True, settings={"system": "x"},
    )  # fmt: skip
    trees = [branched, tree("one", "two", title="Second")]
    imported = store.add_trees(trees, model="m", meta={"consent": "off"})
    assert (len(imported.ids), imported.num_messages, imported.known_ids) == (2, 5, [])
    first = store.get(imported.ids[0])
    assert (first.title, first.created, first.updated, first.is_pinned) == ("Greeting", 5.0, 9.0, True)
    assert [entry.message.content for entry in first.messages] == ["Hello", "Hi"]
    assert first.messages[1].meta == {"model": "old", "consent": "off"}
    assert len(first.messages[1].sibling_ids) == 2
    assert [folder.id for folder in store.folders.list()] == [first.folder_id]
    again = store.add_trees(trees, model="m")
    assert (again.ids, again.known_ids) == ([], imported.ids)
    own_copy = [tree("x", source_id=first.id)]
    assert store.add_trees(own_copy, model="m").known_ids == [first.id]


def test_an_import_of_one_key_knows_nothing_of_another(store):
    known = store.for_principal(ADA).add_trees([tree("secret", folder="F")], model="m").ids[0]
    bob = store.for_principal(BOB)
    assert len(bob.add_trees([tree("secret", folder="F"), tree("x", source_id=known)], model="m").ids) == 2
    assert len(bob.folders.list()) == 1


def test_a_failed_import_adds_nothing(store):
    with pytest.raises(InvalidData):
        store.add_trees([tree("good", folder="F"), tree("half \ud800")], model="m")
    assert store.list() == store.folders.list() == []


def test_export_and_erasure_cover_folders_and_settings(store):
    ada = store.for_principal(ADA)
    folder, empty = ada.folders.create("Medical"), ada.folders.create("Private")
    id = ada.create(title="a", model="m", folder_id=folder.id, settings={"system": "I am ill."}).id
    ada.update(id, ConversationChanges(is_pinned=True))
    ada.append(id, [Message("user", "x")], {"user": "eve"})
    store.for_principal(BOB).folders.create("Bob's")
    exported = store.personal_data.export(DataSubject("ada"))
    assert {entry["name"] for entry in exported["folders"]} == {"Medical", "Private"}
    [conversation] = exported["conversations"]
    assert (conversation["pinned"], conversation["folder_id"]) == (True, folder.id)
    assert conversation["settings"] == {"system": "I am ill."}
    person = DataSubject("ada", "eve")
    assert [entry["id"] for entry in store.personal_data.export(person)["folders"]] == [folder.id]
    assert store.personal_data.erase(person)["folders"] == 1
    assert [entry.id for entry in ada.folders.list()] == [empty.id], "it may be another person's"
    ada.folders.create("Later")
    assert store.personal_data.erase(DataSubject("ada"))["folders"] == 2
    assert [entry.name for entry in store.folders.list()] == ["Bob's"]


def test_an_erasure_keeps_a_folder_with_conversations_of_others(store):
    folders = [store.folders.create(name) for name in ("shared", "hers", "nobody's")]
    for user, folder in (("ann", folders[0]), ("ann", folders[1]), ("bob", folders[0])):
        id = store.create(title="", model="m", folder_id=folder.id).id
        store.append(id, [Message("user", "x")], {"user": user})
    assert store.personal_data.erase(DataSubject(None, "ann"))["folders"] == 1
    assert {entry.name for entry in store.folders.list()} == {"shared", "nobody's"}


def test_retention_deletes_old_folders_that_are_empty(store):
    old, used = store.folders.create("old"), store.folders.create("used")
    store.create(title="", model="m", folder_id=used.id)
    with store._database.write_transaction() as connection:
        connection.execute("UPDATE folders SET created = created - 1000")
    new = store.folders.create("new")
    assert store.personal_data.delete_older(old.created - 500)["folders"] == 1
    assert {entry.id for entry in store.folders.list()} == {used.id, new.id}
