# Everything runs in .venv, which tools/setup_venv.sh makes and keeps current. Nothing has to be exported.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test soak lint clean distclean

python := .venv/bin/python
DATA ?=
PYTHON ?=
export PYTHON

# What an activated environment or a sourced ROS installation sets would mix with .venv.
unexport PYTHONPATH PYTHONHOME LD_LIBRARY_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH RMW_IMPLEMENTATION
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE ROS_LOCALHOST_ONLY
# ROS inside this machine only, and in a domain of this run's own.
export AMENT_PREFIX_PATH := $(CURDIR)/.venv
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export ROS_DOMAIN_ID := $(shell echo $$((PPID % 101 + 1)))
export ROS_LOG_DIR := $(CURDIR)/build/ros_log
# Checkpoints that lie beside the checkout are used without download.
ifndef SUBPX_WEIGHTS
ifneq ($(wildcard ../shared/weights/.),)
export SUBPX_WEIGHTS := $(shell cd ../shared/weights && pwd)
endif
endif

help:
	@echo "make demo              set up, then replay the rendered street through the node; results in out/demo"
	@echo "make demo DATA=path    the same with a KITTI sequence or a rosbag2"
	@echo "make test              set up, then lint and run all tests"
	@echo "make soak              set up, then the long form of the fault tests; an idle machine and an hour or two"
	@echo "make lint              set up, then ruff and mypy alone"
	@echo "make setup             set up .venv alone; PYTHON=path chooses its Python (3.11 or 3.12)"
	@echo "make clean             remove what builds and runs have left, but keep .venv"
	@echo "make distclean         remove .venv too"

setup:
	@tools/setup_venv.sh

demo: setup
	@$(python) -m subpx_ros.cli demo $(if $(DATA),--data "$(DATA)") --out out/demo

# Two at a time: many tests wait for what a node says, and half of them use one core.
test: lint
	$(python) -m pytest -n 2 --dist loadfile

soak: setup
	$(python) tools/soak.py

lint: setup
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy

clean:
	rm -rf build out subpx_ros.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv
