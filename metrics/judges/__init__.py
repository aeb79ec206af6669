"""Judges: metrics for which a multimodal model answers questions about a clip.

`question_set` says what is asked, of whom and how; `inquiry` writes what is sent and reads what comes back; `metric`
makes a score of the answers; `family` finds ``judge:NAME``. Who asks the model is `javisbench.run.judging`.
"""
