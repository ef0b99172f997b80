"""Opens knowledge bases with an encoder of words."""

from knowledge_stand_ins import WordEncoder
from turnwise.app.knowledge.knowledge_base import KnowledgeBase
from turnwise.store import open_knowledge_store

MANY = 1000


def open_base(folder, encoder=None):
    store = open_knowledge_store(f"sqlite:///{folder / 'knowledge.db'}")
    return KnowledgeBase(folder, store, encoder or WordEncoder())
