"""Airflow's stable REST API (2.x) for programs that were written for it: the same paths, words and answers, carried out by rqflow's operations.

A module a kind of thing; what they share is in asking.py (pages, filters, masks), models.py (Airflow's words), states.py (the mapping of states)
and errors.py (the shape of errors).
"""
