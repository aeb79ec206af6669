"""The JavisBench taxonomy: 5 aspects, 19 categories, in the order in which suites number them.

Names and order: JavisDiT (ICLR 2026, arXiv:2503.23377), section 4 and its released suite; descriptions are ours.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """One category of an aspect; `id` is its name in files, `title` in tables."""

    id: str
    title: str
    description: str


@dataclass(frozen=True)
class Aspect:
    """One of the five ways in which JavisBench sorts its samples; a sample may be in several categories."""

    id: str
    title: str
    description: str
    categories: tuple[Category, ...]

    @property
    def category_ids(self) -> tuple[str, ...]:
        """The ids of the categories, in the order that indices in suite files refer to."""
        return tuple(category.id for category in self.categories)


TAXONOMY: tuple[Aspect, ...] = (
    Aspect(
        "event_scenario",
        "Event Scenario",
        "Where the event takes place.",
        (
            Category("natural_scenario", "Natural Scenario", "Weather, water, landscapes, animals in the wild."),
            Category("urban_scenario", "Urban Scenario", "Streets, traffic, crowds and public places of a town."),
            Category("living_scenario", "Living Scenario", "Homes, kitchens, pets, hobbies and daily life."),
            Category("industrial_scenario", "Industrial Scenario", "Workshops, factories, machines at work, tools."),
            Category("virtual_scenario", "Virtual Scenario", "Places that do not exist: games, fantasy, abstraction."),
        ),
    ),
    Aspect(
        "visual_style",
        "Visual Style",
        "How the picture was made.",
        (
            Category("camera_shooting", "Camera Shooting", "Looks as if filmed by a camera."),
            Category("2d_animate", "2D-Animate", "Drawn or flat animation."),
            Category("3d_animate", "3D-Animate", "Rendered animation with depth and lighting."),
        ),
    ),
    Aspect(
        "sound_type",
        "Sound Type",
        "What is heard.",
        (
            Category("ambient_sounds", "Ambient Sounds", "Background of a place: wind, rain, hum, murmur."),
            Category(
                "biological_sounds", "Biological Sounds", "Made by living bodies, words aside: calls, steps, claps."
            ),
            Category(
                "mechanical_sounds", "Mechanical Sounds", "Made by objects and machines: engines, impacts, clicks."
            ),
            Category("musical_sounds", "Musical Sounds", "Instruments, singing, melodies."),
            Category("speech_sounds", "Speech Sounds", "Spoken words."),
        ),
    ),
    Aspect(
        "temporal_composition",
        "Temporal Composition",
        "How sounding events lie in time.",
        (
            Category("single_event", "Single Event", "One sounding event."),
            Category("sequential_events", "Sequential Events", "Several events, one after another."),
            Category("simultaneous_events", "Simultaneous Events", "Several events at the same time."),
        ),
    ),
    Aspect(
        "spatial_composition",
        "Spatial Composition",
        "Who makes the sound, and whether it is seen.",
        (
            Category("single_subject", "Single Subject", "One visible source of sound."),
            Category("multiple_subjects", "Multiple Subjects", "Several visible sources of sound."),
            Category("off_screen_sound", "Off-screen Sound", "A source of sound that the picture does not show."),
        ),
    ),
)

ASPECTS: dict[str, Aspect] = {aspect.id: aspect for aspect in TAXONOMY}


def category_title(category_id: str) -> str:
    """The title of a category; the id itself for one that the taxonomy does not know."""
    for aspect in TAXONOMY:
        for category in aspect.categories:
            if category.id == category_id:
                return category.title
    return category_id
