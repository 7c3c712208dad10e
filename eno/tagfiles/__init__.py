"""Tags inside audio files: planning, writing and undoing edits."""

from eno.tagfiles.edits import TagEdit as TagEdit
from eno.tagfiles.edits import UndoLog as UndoLog
from eno.tagfiles.edits import plan_edit as plan_edit
from eno.tagfiles.edits import undo as undo
from eno.tagfiles.edits import write_edit as write_edit
