"""Pages, sheets and videos that show what is in a dataset."""

from swmjax.report.page import write_page
from swmjax.report.previews import write_previews
from swmjax.report.sheets import contact_sheet, write_sheet

__all__ = ["contact_sheet", "write_page", "write_previews", "write_sheet"]
