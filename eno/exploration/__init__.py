"""The exploration report: what a collection contains, and what is wrong with it."""

from eno.exploration.collect import explore as explore
