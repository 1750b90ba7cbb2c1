"""Goals to CVXPY terms, escalation, evaluation and the planning path."""
