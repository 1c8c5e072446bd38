"""What starts the jobs: stream sensors, failure sensors, schedules."""
