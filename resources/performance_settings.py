"""Configuration of how records are judged: look-back and alerts."""

from pydantic import Field

from resources.strict_model import StrictModel


class AlertSettings(StrictModel):
    """Thresholds beyond which a record is reported; fractions, not percent."""

    maximum_drawdown: float = Field(default=0.10, gt=0, lt=1, description="limit: loss from the highest equity so far")
    maximum_daily_loss: float = Field(default=0.05, gt=0, lt=1, description="limit: loss of one day")
    minimum_sharpe_ratio: float = Field(default=0.0, description="annualized Sharpe ratio of daily returns")
    minimum_win_rate: float = Field(default=0.35, ge=0, le=1, description="share of trades with a profit after fees")
    minimum_profit_factor: float = Field(default=1.0, ge=0, description="sum of profits over sum of losses")
    underperformer_probability: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="a strategy is flagged when its true Sharpe ratio is above zero with a probability below this",
    )
    minimum_days: int = Field(default=30, ge=0, description="a shorter record's ratios are not judged")
    minimum_trades: int = Field(default=30, ge=0, description="fewer closed trades are not judged")


class PerformanceSettings(StrictModel):
    """What the records of strategies, instruments and the portfolio are judged by."""

    look_back_days: int = Field(default=365, ge=1, le=3_650, description="days of record that metrics look back")
    alerts: AlertSettings = AlertSettings()
