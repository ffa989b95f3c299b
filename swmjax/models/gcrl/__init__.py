"""The goal-conditioned baselines GCBC, GCIQL, GCIVL and HILP."""

from swmjax.models.gcrl.gcrl import GCRL, GCRLConfig
from swmjax.models.gcrl.predictors import GoalPredictorConfig, MetricValuePredictorConfig, QPredictorConfig

__all__ = ["GCRL", "GCRLConfig", "GoalPredictorConfig", "MetricValuePredictorConfig", "QPredictorConfig"]
